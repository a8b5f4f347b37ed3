package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
)

// Overhead is how many bytes longer a Box makes a value: a 12-byte nonce and a 16-byte tag.
const Overhead = 28

// Box seals under one key of its own, for values whose key can be thrown away to erase them.
type Box struct{ aead cipher.AEAD }

// NewBox makes a box of a 32-byte key.
func NewBox(key []byte) (*Box, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("secret: a key has 32 bytes, not %d", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Box{aead}, nil
}

// NewKey is a random 32-byte key for NewBox.
func NewKey() []byte { return random() }

// Seal encrypts plain for the place.
func (b *Box) Seal(place string, plain []byte) []byte { return b.seal(nil, place, plain) }

func (b *Box) seal(dst []byte, place string, plain []byte) []byte {
	return b.aead.Seal(dst, nil, plain, []byte(place))
}

// Unseal opens what Seal made for the same place; ErrSealed otherwise.
func (b *Box) Unseal(place string, sealed []byte) ([]byte, error) {
	plain, err := b.aead.Open(nil, nil, sealed, []byte(place))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}
