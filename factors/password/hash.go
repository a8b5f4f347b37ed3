package password

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/secret"
)

// Cost of one Argon2id hash (RFC 9106).
type Cost struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultCost is the OWASP Password Storage choice of 19 MiB and two passes.
var DefaultCost = Cost{Memory: 19456, Time: 2, Threads: 1}

const (
	saltSize = 16
	tagSize  = 32
)

// most bounds what a stored string may ask for, so that a damaged row cannot eat the machine.
var most = Cost{Memory: 1 << 20, Time: 16, Threads: 16}

func (c Cost) check() error {
	if c.Threads < 1 || c.Time < 1 || c.Memory < 8*uint32(c.Threads) || c.Memory > most.Memory || c.Time > most.Time || c.Threads > most.Threads {
		return fmt.Errorf("argon2 cost m=%d,t=%d,p=%d is out of range", c.Memory, c.Time, c.Threads)
	}
	return nil
}

// Pepper is the part of secret.Ring that keeps stolen hashes useless without the root key.
type Pepper interface {
	Newest(p secret.Purpose) uint32
	MACUnder(p secret.Purpose, version uint32, parts ...string) []byte
}

// hash is one stored Argon2id hash. Pepper is the version of the pepper key that went in before, 0 = none.
type hash struct {
	Cost   Cost
	Pepper uint32
	Salt   []byte
	Tag    []byte
}

// String is the PHC form; the version of the pepper key is its keyid, four bytes big-endian.
func (h hash) String() string {
	b64 := base64.RawStdEncoding
	keyid := ""
	if h.Pepper != 0 {
		keyid = ",keyid=" + b64.EncodeToString(binary.BigEndian.AppendUint32(nil, h.Pepper))
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d%s$%s$%s", argon2.Version, h.Cost.Memory, h.Cost.Time, h.Cost.Threads, keyid,
		b64.EncodeToString(h.Salt), b64.EncodeToString(h.Tag))
}

// errPHC never repeats what it could not read.
var errPHC = errors.New("password: the stored hash is not an argon2id string")

// parse reads what String makes, and nothing that String would write otherwise.
func parse(s string) (h hash, err error) {
	if len(s) > 512 {
		return h, errPHC
	}
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, errPHC
	}
	params := strings.Split(part[3], ",")
	if len(params) < 3 || len(params) > 4 {
		return h, errPHC
	}
	var value [3]uint64
	for i, spec := range []struct {
		name string
		bits int
	}{{"m=", 32}, {"t=", 32}, {"p=", 8}} {
		digits, ok := strings.CutPrefix(params[i], spec.name)
		if !ok {
			return h, errPHC
		}
		if value[i], err = strconv.ParseUint(digits, 10, spec.bits); err != nil {
			return h, errPHC
		}
	}
	h.Cost = Cost{Memory: uint32(value[0]), Time: uint32(value[1]), Threads: uint8(value[2])}
	if err := h.Cost.check(); err != nil {
		return hash{}, err
	}
	b64 := base64.RawStdEncoding.Strict()
	if len(params) == 4 {
		text, ok := strings.CutPrefix(params[3], "keyid=")
		id, err := b64.DecodeString(text)
		if !ok || err != nil || len(id) != 4 {
			return hash{}, errPHC
		}
		h.Pepper = binary.BigEndian.Uint32(id)
	}
	if h.Salt, err = b64.DecodeString(part[4]); err != nil || len(h.Salt) < 8 || len(h.Salt) > 64 {
		return hash{}, errPHC
	}
	if h.Tag, err = b64.DecodeString(part[5]); err != nil || len(h.Tag) < 16 || len(h.Tag) > 64 {
		return hash{}, errPHC
	}
	if h.String() != s { // leading zeros, a plus sign, a second spelling of the same
		return hash{}, errPHC
	}
	return h, nil
}

// Normalise is the one form in which a password is counted, compared and hashed (NIST SP 800-63B-4 §3.1.1.2: NFC), so
// that "ş" typed on a phone and on a desk is the same letter.
func Normalise(typed string) string { return norm.NFC.String(typed) }

// hasher makes and compares hashes. Each run costs one slot's time; ran is told of each.
type hasher struct {
	cost    Cost
	pepper  Pepper
	purpose string // what the hashes are of
	ran     func()
}

// pre is what goes into Argon2id: a MAC under the pepper key over the account and the normalised password. The account
// is in it so that a hash copied to another person's row opens nothing.
func (h hasher) pre(version uint32, id account.ID, password string) ([]byte, error) {
	mac := h.pepper.MACUnder(secret.Pepper, version, h.purpose, string(id), Normalise(password))
	if mac == nil {
		return nil, fmt.Errorf("password: a hash was made with pepper key %d, which is not on the ring", version)
	}
	return mac, nil
}

func (h hasher) make(id account.ID, password string) (hash, error) {
	n := hash{Cost: h.cost, Pepper: h.pepper.Newest(secret.Pepper), Salt: make([]byte, saltSize)}
	rand.Read(n.Salt)
	pre, err := h.pre(n.Pepper, id, password)
	if err != nil {
		return hash{}, err
	}
	h.ran()
	n.Tag = n.Cost.derive(pre, n.Salt, tagSize)
	return n, nil
}

func (h hasher) matches(stored hash, id account.ID, password string) (bool, error) {
	pre, err := h.pre(stored.Pepper, id, password)
	if err != nil {
		return false, err
	}
	h.ran()
	return subtle.ConstantTimeCompare(stored.Cost.derive(pre, stored.Salt, len(stored.Tag)), stored.Tag) == 1, nil
}

// stale says whether the hash should be made anew the next time the password is at hand.
func (h hasher) stale(stored hash) bool {
	return stored.Cost != h.cost || stored.Pepper != h.pepper.Newest(secret.Pepper) ||
		len(stored.Salt) != saltSize || len(stored.Tag) != tagSize
}

// dummy is compared where there is nothing to compare: same cost, a tag that nothing gives but by a 256-bit accident.
func (h hasher) dummy() hash {
	d := hash{Cost: h.cost, Pepper: h.pepper.Newest(secret.Pepper), Salt: make([]byte, saltSize), Tag: make([]byte, tagSize)}
	rand.Read(d.Salt)
	rand.Read(d.Tag)
	return d
}

func (c Cost) derive(password, salt []byte, size int) []byte {
	return argon2.IDKey(password, salt, c.Time, c.Memory, c.Threads, uint32(size))
}

// equal reports that both strings are the same password.
func equal(a, b string) bool { return bytes.Equal([]byte(Normalise(a)), []byte(Normalise(b))) }
