package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// entry is a file in an archive.
type entry struct {
	name       string
	path       string // the file with the content; if it is empty, the content is data
	data       []byte
	executable bool
}

// mode returns the permissions of the file. They do not depend on the machine's umask.
func (e entry) mode() fs.FileMode {
	if e.executable {
		return 0o755
	}
	return 0o644
}

func (e entry) content() ([]byte, error) {
	if e.path == "" {
		return e.data, nil
	}
	return os.ReadFile(e.path)
}

// writeTar writes entries to an archive. Their order is that of the archive.
func writeTar(w io.Writer, modified time.Time, entries []entry) error {
	archive := tar.NewWriter(w)
	for _, e := range entries {
		data, err := e.content()
		if err != nil {
			return err
		}
		header := &tar.Header{Name: e.name, Mode: int64(e.mode()), Size: int64(len(data)), ModTime: modified, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(data); err != nil {
			return err
		}
	}
	return archive.Close()
}

// writeTarGz writes entries to a compressed archive.
func writeTarGz(w io.Writer, modified time.Time, entries []entry) error {
	compressed := gzip.NewWriter(w)
	if err := writeTar(compressed, modified, entries); err != nil {
		return err
	}
	return compressed.Close()
}

// writeZip writes entries to a ZIP archive.
func writeZip(w io.Writer, modified time.Time, entries []entry) error {
	archive := zip.NewWriter(w)
	for _, e := range entries {
		data, err := e.content()
		if err != nil {
			return err
		}
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: modified}
		header.SetMode(e.mode())
		f, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	return archive.Close()
}

// directory returns entries of all files in a directory, in the order of their names.
func directory(dir string) (entries []entry, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		entries = append(entries, entry{name: filepath.ToSlash(name), path: path})
		return err
	})
	return entries, err
}
