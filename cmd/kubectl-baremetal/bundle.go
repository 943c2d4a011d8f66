package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bundle is the files of a support bundle. Its methods are not for several goroutines.
type bundle struct {
	made    time.Time
	version string // of the plugin
	files   []bundleFile
	missing []bundleGap
	// passwords are replaced wherever they are.
	passwords []string
}

// bundleFile is a file, and what it has in words.
type bundleFile struct {
	name, what string
	text       []byte
}

// bundleGap is something that the bundle does not have, and why.
type bundleGap struct{ what, why string }

// bundleFolder is the folder in the archive.
const bundleFolder = "baremetal-support/"

// passwordRemoved is what stands in place of a password.
const passwordRemoved = "(password removed)"

// shortest is the length of the shortest password that is looked for in all files: a shorter text is
// everywhere by chance.
const shortest = 4

// add adds a file.
func (b *bundle) add(name, what string, text []byte) {
	b.files = append(b.files, bundleFile{name, what, text})
}

// addJSON adds a value as JSON.
func (b *bundle) addJSON(name, what string, value any) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		b.miss(what, err.Error())
		return
	}
	b.add(name, what, append(text, '\n'))
}

// miss says that the bundle does not have something.
func (b *bundle) miss(what, why string) { b.missing = append(b.missing, bundleGap{what, why}) }

// hide makes the bundle replace passwords in all files.
func (b *bundle) hide(passwords []string) {
	for _, p := range passwords {
		if len(p) >= shortest && !slices.Contains(b.passwords, p) {
			b.passwords = append(b.passwords, p)
		}
	}
}

// clean replaces the passwords in a text, also in the forms that JSON, Go and YAML write.
func (b *bundle) clean(text []byte) []byte {
	unquoted := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	for _, p := range b.passwords {
		forms := []string{p, unquoted(strconv.Quote(p)), strings.ReplaceAll(p, "'", "''")}
		if inJSON, err := json.Marshal(p); err == nil {
			forms = append(forms, unquoted(string(inJSON)))
		}
		for _, form := range forms {
			text = bytes.ReplaceAll(text, []byte(form), []byte(passwordRemoved))
		}
	}
	return text
}

// index is the text of the file that says what is in the bundle, and what is not.
func (b *bundle) index() []byte {
	var t bytes.Buffer
	fmt.Fprintf(&t, "Support bundle of kubectl-baremetal %s, made at %s.\n\n", b.version, b.made.UTC().Format(time.RFC3339))
	fmt.Fprintln(&t, "It has the names of nodes, namespaces, Services and pods, IP and MAC addresses, and logs.")
	fmt.Fprintln(&t, "It has no Secrets, no passwords of BGP peers, and only the annotations of this product.")
	fmt.Fprintln(&t, "Look through it before you pass it on.")
	fmt.Fprintln(&t, "\nFILES")
	table := newTable(&t)
	for _, f := range b.files {
		table.row(f.name, f.what)
	}
	_ = table.flush() // a buffer takes everything
	fmt.Fprintln(&t, "\nMISSING")
	if len(b.missing) == 0 {
		fmt.Fprintln(&t, "nothing")
	}
	for _, m := range b.missing {
		fmt.Fprintf(&t, "%s: %s\n", m.what, strings.Join(strings.Fields(m.why), " "))
	}
	return t.Bytes()
}

// write writes the bundle as a compressed archive. It returns its number of files.
func (b *bundle) write(w io.Writer) (files int, err error) {
	slices.SortStableFunc(b.files, func(x, y bundleFile) int { return cmp.Compare(x.name, y.name) })
	all := append([]bundleFile{{name: "index.txt", text: b.index()}}, b.files...)
	compressed := gzip.NewWriter(w)
	archive := tar.NewWriter(compressed)
	for _, f := range all {
		text := b.clean(f.text)
		header := &tar.Header{Typeflag: tar.TypeReg, Name: bundleFolder + f.name, Mode: 0o600, Size: int64(len(text)), ModTime: b.made}
		if err := archive.WriteHeader(header); err != nil {
			return 0, fmt.Errorf("writing %s: %w", f.name, err)
		}
		if _, err := archive.Write(text); err != nil {
			return 0, fmt.Errorf("writing %s: %w", f.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return 0, fmt.Errorf("writing the end of the archive: %w", err)
	}
	if err := compressed.Close(); err != nil {
		return 0, fmt.Errorf("writing the end of the archive: %w", err)
	}
	return len(all), nil
}
