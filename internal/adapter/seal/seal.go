// Package seal encrypts secrets with a key that lies in a file apart from the
// database.
package seal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// Sealer implements keyvault.Sealer.
type Sealer struct{ key tink.AEAD }

// OpenFile reads the key file, making it with a new key where there is none.
// The file is readable by its owner only; anything else is refused.
func OpenFile(name string) (*Sealer, error) {
	handle, err := read(name)
	if errors.Is(err, os.ErrNotExist) {
		handle, err = create(name)
	}
	if err != nil {
		return nil, err
	}
	key, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", name, err)
	}
	return &Sealer{key}, nil
}

// Ephemeral makes a sealer whose key ends with the process.
func Ephemeral() (*Sealer, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	key, err := aead.New(handle)
	if err != nil {
		return nil, err
	}
	return &Sealer{key}, nil
}

func read(name string) (*keyset.Handle, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Invalid, "key-readable", "the key file can be read by others").At("%s", name).
			Want("mode 0600").Got("%04o", info.Mode().Perm()).Try("chmod 600 %s, and think about who may have read it", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "key-unreadable", "the key file is damaged").At("%s", name).Try("restore it from your backup: without it no secret can be opened")
	}
	return handle, nil
}

func create(name string) (*keyset.Handle, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewBinaryWriter(&b)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	return handle, rootfs.WriteFile(name, b.Bytes(), 0o600)
}

// Seal implements keyvault.Sealer.
func (s *Sealer) Seal(plain []byte, binding string) ([]byte, error) {
	return s.key.Encrypt(plain, []byte(binding))
}

// Open implements keyvault.Sealer.
func (s *Sealer) Open(sealed []byte, binding string) ([]byte, error) {
	return s.key.Decrypt(sealed, []byte(binding))
}
