package enrolment

import (
	"fmt"
	"io"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/jsonfile"
)

// PersonFile is one person of a file. What the registry says stands in Person and replaces what is stored; a phone, an
// e-mail address, a locale or two_factor that the file leaves out stays as it is.
type PersonFile struct {
	Person    account.Person
	Contacts  contact.Contacts // VerifiedAt is not set
	Locale    string           // "tr", "en", "" = not said
	Password  string           // set only when the person is created; "" = none
	Temporary bool             // the password
	TwoFactor *bool
	Line      int
}

// Masked names the person in messages without the number.
func (p PersonFile) Masked() string { return masked(string(p.Person.NationalID)) }

func masked(number string) string { return "person …" + number[max(0, len(number)-4):] }

// document is one object of the file.
type document struct {
	NationalID    string   `json:"national_id"`
	Kind          string   `json:"kind"`
	GivenName     string   `json:"given_name"`
	FamilyName    string   `json:"family_name"`
	Birthdate     string   `json:"birthdate"`
	Gender        string   `json:"gender"`
	Locale        string   `json:"locale"`
	Address       address  `json:"address"`
	Email         string   `json:"email"`
	EmailVerified bool     `json:"email_verified"`
	Phone         string   `json:"phone"`
	PhoneGrade    string   `json:"phone_grade"`
	PhoneOperator string   `json:"phone_operator"`
	PhoneLines    []string `json:"phone_lines"`
	Password      string   `json:"password"`
	Temporary     bool     `json:"password_temporary"`
	TwoFactor     *bool    `json:"two_factor"`

	Documents []identityPaper `json:"documents"`
}

// identityPaper has the members of account.Document.
type identityPaper struct {
	Type   string `json:"type"`
	Serial string `json:"serial"`
}

// address has the members of account.Address, of the same type but for the tags.
type address struct {
	StreetAddress string `json:"street_address"`
	Locality      string `json:"locality"`
	Region        string `json:"region"`
	PostalCode    string `json:"postal_code"`
	Country       string `json:"country"`
}

// Bounds of what a file may say.
const (
	mostName     = 100  // characters
	mostLine     = 200  // of an address
	mostPassword = 1024 // bytes
	mostOperator = 32

	mostDocuments = 10
)

// ParsePeople reads a file of people (kapi person apply). It returns all problems at once, each with its line, the member
// and how to mend it, the number masked; with one problem nothing is returned.
func ParsePeople(r io.Reader) ([]PersonFile, error) {
	objects, err := jsonfile.Read(r, "person")
	if err != nil {
		return nil, err
	}
	var out []PersonFile
	var problems []jsonfile.Problem
	lines := map[account.NationalID]int{}
	for _, o := range objects {
		c := checker{object: o}
		c.problems = o.Decode(&c.doc)
		if len(c.problems) == 0 {
			p := c.person()
			p.Line = o.Line
			if first, twice := lines[p.Person.NationalID]; twice && p.Person.NationalID != "" {
				c.bad("national_id", "the person of line %d has the same; each person stands once", first)
			}
			lines[p.Person.NationalID] = o.Line
			out = append(out, p)
		}
		for _, p := range c.problems {
			if n := c.doc.NationalID; len(n) == 11 && strings.Trim(n, "0123456789") == "" {
				p.Subject = masked(c.doc.NationalID)
			}
			problems = append(problems, p)
		}
	}
	if err := jsonfile.Join(problems); err != nil {
		return nil, err
	}
	return out, nil
}

type checker struct {
	object   jsonfile.Object
	doc      document
	problems []jsonfile.Problem
}

func (c *checker) bad(path, format string, args ...any) {
	member, _, _ := strings.Cut(path, ".")
	c.problems = append(c.problems, jsonfile.Problem{Line: c.object.At(member), Path: path, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.bad(path, "must be one of: %s", strings.TrimPrefix(strings.Join(allowed, ", "), ", "))
	}
}

// text returns s in NFC and checks that it can be read and is no longer than most characters.
func (c *checker) text(path, s string, most int) string {
	if utf8.RuneCountInString(s) > most {
		c.bad(path, "is longer than %d characters", most)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) && !(r == '\n' && path == "address.street_address") {
			c.bad(path, "holds a character that cannot be seen; retype it")
			break
		}
	}
	if strings.TrimSpace(s) != s {
		c.bad(path, "begins or ends with a space")
	}
	return norm.NFC.String(s)
}

func (c *checker) person() PersonFile {
	d := &c.doc
	p := PersonFile{Locale: d.Locale, Password: d.Password, Temporary: d.Temporary, TwoFactor: d.TwoFactor}
	number, err := account.ParseNationalID(d.NationalID)
	switch {
	case d.NationalID == "":
		c.bad("national_id", "is missing")
	case err != nil || string(number) != d.NationalID:
		c.bad("national_id", "must be 11 digits with a right checksum, in quotes")
	}
	c.oneOf("kind", d.Kind, string(account.Citizen), string(account.BlueCard), string(account.Foreigner))
	p.Person = account.Person{
		NationalID: number, Kind: account.Kind(d.Kind), Birthdate: d.Birthdate, Gender: d.Gender,
		GivenName: c.text("given_name", d.GivenName, mostName), FamilyName: c.text("family_name", d.FamilyName, mostName),
	}
	if d.GivenName == "" && d.FamilyName == "" {
		c.bad("given_name", "is missing, and so is family_name; one of them is needed")
	}
	if born, err := time.Parse(time.DateOnly, d.Birthdate); d.Birthdate != "" && (err != nil || born.Year() < 1850) {
		c.bad("birthdate", "must be a real date, written YYYY-MM-DD")
	}
	c.oneOf("gender", d.Gender, "", "female", "male", "other")
	c.oneOf("locale", d.Locale, "", "tr", "en")
	c.address(&p)
	c.documents(&p)
	c.contacts(&p)
	switch {
	case len(d.Password) > mostPassword:
		c.bad("password", "is longer than %d bytes", mostPassword)
	case d.Temporary && d.Password == "":
		c.bad("password_temporary", "says something of a password, but there is none")
	}
	if d.TwoFactor != nil && *d.TwoFactor && d.PhoneGrade != string(contact.IDVerified) {
		c.bad("two_factor", "needs a phone with phone_grade id_verified")
	}
	return p
}

func (c *checker) address(p *PersonFile) {
	a := &c.doc.Address
	p.Person.Address = account.Address{
		StreetAddress: c.text("address.street_address", a.StreetAddress, mostLine), Locality: c.text("address.locality", a.Locality, mostLine),
		Region: c.text("address.region", a.Region, mostLine), PostalCode: c.text("address.postal_code", a.PostalCode, mostLine), Country: a.Country,
	}
	if a.Country != "" && (len(a.Country) != 2 || strings.Trim(a.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		c.bad("address.country", "must be the two letters of ISO 3166, e.g. \"TR\"")
	}
}

// documents: the file says which are valid; those that it leaves out are so no more.
func (c *checker) documents(p *PersonFile) {
	if len(c.doc.Documents) > mostDocuments {
		c.bad("documents", "are more than %d", mostDocuments)
		return
	}
	for _, d := range c.doc.Documents {
		t := account.DocumentType(d.Type)
		if !slices.Contains(account.DocumentTypes, t) {
			c.bad("documents", "type must be one of: %v", account.DocumentTypes)
			continue
		}
		serial := strings.ToUpper(d.Serial)
		if len(serial) < 4 || len(serial) > 20 || strings.Trim(serial, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			c.bad("documents", "serial must be 4 to 20 letters and digits, without spaces, as printed on the document")
			continue
		}
		p.Person.Documents = append(p.Person.Documents, account.Document{Type: t, Serial: serial})
	}
}

func (c *checker) contacts(p *PersonFile) {
	d := &c.doc
	switch parsed, err := mail.ParseAddress(d.Email); {
	case d.Email == "" && d.EmailVerified:
		c.bad("email_verified", "says something of an e-mail address, but there is none")
	case d.Email == "":
	case err != nil || parsed.Address != d.Email || len(d.Email) > 254 || strings.ContainsFunc(d.Email, func(r rune) bool { return r <= ' ' || r > '~' }):
		c.bad("email", "is no e-mail address, such as \"ayse@example.org\"")
	default:
		p.Contacts.Email = contact.Email{Address: d.Email, Verified: d.EmailVerified}
	}
	if d.Phone == "" {
		if d.PhoneGrade != "" {
			c.bad("phone_grade", "says something of a phone, but there is none")
		}
		if d.PhoneOperator != "" || len(d.PhoneLines) > 0 {
			c.bad("phone_operator", "says something of a phone, but there is none; so may phone_lines")
		}
		return
	}
	if d.PhoneGrade == "" {
		d.PhoneGrade = string(contact.Declared)
	}
	c.oneOf("phone_grade", d.PhoneGrade, string(contact.Declared), string(contact.Verified), string(contact.IDVerified))
	switch number, err := contact.ParseNumber(d.Phone); {
	case err != nil:
		c.bad("phone", "%v; write it with its country, e.g. \"+905550000001\"", err)
	case number != d.Phone:
		c.bad("phone", "must be written with its country and without spaces: %q", number)
	default:
		p.Contacts.Phone = contact.Phone{Number: number, Grade: contact.Grade(d.PhoneGrade), Operator: d.PhoneOperator, Lines: d.PhoneLines}
	}
	if len(d.PhoneOperator) > mostOperator || strings.Trim(d.PhoneOperator, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		c.bad("phone_operator", "use at most %d lower-case letters, digits and hyphens, e.g. \"turkcell\"", mostOperator)
	}
	for i, line := range d.PhoneLines {
		c.oneOf("phone_lines", line, "messenger", "sim")
		if slices.Contains(d.PhoneLines[:i], line) {
			c.bad("phone_lines", "%q stands twice; remove one", line)
		}
	}
}
