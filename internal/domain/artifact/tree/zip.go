package tree

import (
	"archive/zip"
	"io"
	"io/fs"
)

// Zip writes a tree as an archive: the same bytes for the same tree, with modes,
// links and folders. Read copies the bytes of a chunk.
func (t *Tree) Zip(w io.Writer, read func(w io.Writer, c Chunk) error) error {
	zw := zip.NewWriter(w)
	for i := range t.Entries {
		if err := zipEntry(zw, &t.Entries[i], read); err != nil {
			return err
		}
	}
	return zw.Close()
}

func zipEntry(zw *zip.Writer, e *Entry, read func(io.Writer, Chunk) error) error {
	h := &zip.FileHeader{Name: e.Path, Method: zip.Deflate}
	switch e.Kind {
	case Folder:
		h.Name, h.Method = e.Path+"/", zip.Store
		h.SetMode(fs.FileMode(e.Mode) | fs.ModeDir)
	case Link:
		h.Method = zip.Store
		h.SetMode(0o777 | fs.ModeSymlink)
	default:
		h.SetMode(fs.FileMode(e.Mode))
	}
	out, err := zw.CreateHeader(h)
	if err != nil {
		return err
	}
	if e.Kind == Link {
		_, err = io.WriteString(out, e.Target)
	}
	for _, c := range e.Chunks {
		if err == nil {
			err = read(out, c)
		}
	}
	return err
}
