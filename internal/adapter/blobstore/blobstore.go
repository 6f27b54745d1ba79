// Package blobstore keeps bytes under keys: in a folder, or wherever the
// bucket's driver puts them.
package blobstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"

	"penstock.dev/penstock/internal/base/fault"
)

// Store implements artifact.Blobs on a bucket.
type Store struct {
	bucket *blob.Bucket
	temp   string
}

// OpenFolder opens a bucket in a folder. Temp must be on any local disk; what
// is uploaded rests there until its digest is known.
func OpenFolder(folder, temp string) (*Store, error) {
	for _, dir := range []string{folder, temp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "data-not-writable", "cannot write in the data folder").At("%s", dir)
		}
	}
	bucket, err := fileblob.OpenBucket(folder, &fileblob.Options{CreateDir: true, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		return nil, err
	}
	return &Store{bucket: bucket, temp: temp}, nil
}

// Close releases the bucket.
func (s *Store) Close() error { return s.bucket.Close() }

// Put implements artifact.Blobs.
func (s *Store) Put(ctx context.Context, r io.Reader, name func(sum string, size int64) string) error {
	f, err := os.CreateTemp(s.temp, "blob-*")
	if err != nil {
		return unavailable(err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(f, sum), r)
	if err != nil {
		return unavailable(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return unavailable(err)
	}
	key := name(hex.EncodeToString(sum.Sum(nil)), size)
	if there, err := s.bucket.Exists(ctx, key); err == nil && there {
		return nil
	}
	if err := s.bucket.Upload(ctx, key, f, &blob.WriterOptions{ContentType: "application/octet-stream"}); err != nil {
		return unavailable(err)
	}
	return nil
}

func unavailable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "blob-store", "the artifact store cannot be written").Try("look at the disk or the bucket; nothing was lost, try again")
}

// Open implements artifact.Blobs.
func (s *Store) Open(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, 0, fault.New(fault.NotFound, "blob-not-found", "the content %s is not stored (any more)", key)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open blob: %w", err)
	}
	return r, r.Size(), nil
}
