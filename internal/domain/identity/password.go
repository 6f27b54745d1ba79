package identity

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/argon2"

	"penstock.dev/penstock/internal/base/fault"
)

// Argon2id costs: memory in KiB, passes, lanes, and key length in bytes.
const (
	argonMemory = 19 * 1024
	argonTime   = 2
	argonLanes  = 1
	argonKey    = 32
)

// decoyHash is verified against where there is no user, so that the time an
// answer takes tells nothing.
const decoyHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func (s *Service) hash(password string) (string, error) {
	if len(password) < 8 {
		return "", fault.New(fault.Invalid, "password-too-short", "the password is too short").Want("at least 8 characters")
	}
	if len(password) > 1024 {
		return "", fault.New(fault.Invalid, "password-too-long", "the password is too long").Want("at most 1024 bytes")
	}
	s.hashing <- struct{}{}
	defer func() { <-s.hashing }()
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, argonKey)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

func (s *Service) verify(password, hash string) (bool, error) {
	var version, memory, time, lanes int
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, fmt.Errorf("stored password has an unknown form")
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &time, &lanes); err != nil {
		return false, fmt.Errorf("stored password: %w", err)
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, fmt.Errorf("stored password: %w", err)
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil {
		return false, fmt.Errorf("stored password: %w", err)
	}
	if len(password) > 1024 {
		return false, nil
	}
	s.hashing <- struct{}{}
	defer func() { <-s.hashing }()
	got := argon2.IDKey([]byte(password), salt, uint32(time), uint32(memory), uint8(lanes), uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

var passwordWords = strings.Fields(`acorn amber anchor apple arrow aspen atlas badge bamboo basil beacon birch bison
 blossom breeze bridge bronze cactus candle canyon cedar cherry cinder clover cobalt comet copper coral cotton crane
 crystal delta desert dolphin dune eagle ember falcon fern fjord flint forest fossil garnet ginger glacier granite
 harbor hazel heron hickory indigo island ivory jasmine juniper kestrel lagoon lantern larch lemon lilac linen lotus
 lynx magnet maple marble meadow melon mesa mint mosaic nectar nickel nutmeg oasis ocelot olive onyx opal orchid otter
 pebble pepper pine plum poppy prairie quartz quill raven reef river robin saffron salmon sequoia silver sparrow spruce
 summit sunset talon thistle thunder timber topaz tulip tundra velvet violet walnut willow winter yarrow zephyr`)

// RandomPassword makes a first password that can be read aloud: about 50 bits.
func RandomPassword() string {
	pick := func(n int) int {
		i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		return int(i.Int64())
	}
	words := make([]string, 5)
	for i := range words {
		words[i] = passwordWords[pick(len(passwordWords))]
	}
	return fmt.Sprintf("%s-%02d", strings.Join(words, "-"), pick(100))
}
