// The connection to the program that serves this page.

const key = "token";

// token returns the token of the address that the command has printed. It is kept for a reload of
// this tab, and taken out of the address bar.
export function token() {
  if (location.hash.length > 1) {
    sessionStorage.setItem(key, location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(key) ?? "";
}

// get asks for a path with the token. Errors are thrown as texts for people.
export async function get(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { Authorization: "Bearer " + token() } });
  } catch {
    throw new Error("kubectl baremetal ui does not answer: it has ended. Start it again.");
  }
  if (!response.ok) {
    const error = new Error((await response.text()).trim());
    error.isFinal = response.status === 401; // another try would have the same token
    throw error;
  }
  return response;
}

// follow calls onEvent(name, data) for each server-sent event, and onLost(error) when the stream
// ends. Then it tries again after a second, unless the token is wrong. An EventSource could not send
// the token.
export async function follow(path, onEvent, onLost) {
  for (;;) {
    try {
      const response = await get(path);
      for await (const event of events(response.body)) {
        onEvent(event.name, event.data);
      }
      onLost(new Error("kubectl baremetal ui has ended. Start it again."));
    } catch (error) {
      onLost(error);
      if (error.isFinal) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// events splits a stream into events. An event ends with an empty line. Lines that begin with a
// colon are comments.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      return;
    }
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const event = { name: "", data: "" };
      for (const line of part.split("\n")) {
        if (line.startsWith("event: ")) event.name = line.slice(7);
        if (line.startsWith("data: ")) event.data += line.slice(6);
      }
      if (event.name) yield event;
    }
  }
}
