package ui

import (
	"embed"
	"net/http"
)

//go:embed page
var page embed.FS

// pageFiles returns the files of the page by path, with their types. The types that the operating
// system knows can be wrong.
func pageFiles() map[string]pageFile {
	files := map[string]pageFile{}
	for path, file := range map[string]pageFile{
		"/{$}":       {name: "index.html", contentType: "text/html; charset=utf-8"},
		"/style.css": {name: "style.css", contentType: "text/css; charset=utf-8"},
		"/page.js":   {name: "page.js", contentType: "text/javascript; charset=utf-8"},
		"/draw.js":   {name: "draw.js", contentType: "text/javascript; charset=utf-8"},
		"/stream.js": {name: "stream.js", contentType: "text/javascript; charset=utf-8"},
		"/icon.svg":  {name: "icon.svg", contentType: "image/svg+xml"},
	} {
		content, err := page.ReadFile("page/" + file.name)
		if err != nil {
			panic(err) // the program was built without its page
		}
		file.content = content
		files[path] = file
	}
	return files
}

// pageFile is a file of the page.
type pageFile struct {
	name, contentType string
	content           []byte
}

func (f pageFile) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", f.contentType)
	_, _ = w.Write(f.content)
}
