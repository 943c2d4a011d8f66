// Package quote cuts texts that users have written, before they become part of a message.
package quote

import (
	"strconv"
	"unicode/utf8"
)

// Limit is the length in bytes after which Short cuts a text.
const Limit = 100

// Short returns text in quotes, cut after Limit bytes. Tenants write annotations of up to
// 256 KiB; such a text must not fill the Events, the log and the conditions.
func Short(text string) string {
	if len(text) <= Limit {
		return strconv.Quote(text)
	}
	cut := Limit
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strconv.Quote(text[:cut]) + " and so on, " + strconv.Itoa(len(text)) + " bytes"
}
