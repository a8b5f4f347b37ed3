package recovery

import (
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
)

func TestSameName(t *testing.T) {
	for _, same := range [][2]string{
		{"Yılmaz", "YILMAZ"}, {"yılmaz", "Yılmaz"}, {"İnan", "inan"}, {"ÇELİK", "çelik"}, {"Şahin", "S\u0327ahin"}, {"Kaya Demir", "KAYA  DEMİR"},
		{"Kaya-Demir", "kaya demir"}, {"Işık", "IŞIK"}, {" Öz ", "öz"}, {"O’Neill", "o'neill"},
	} {
		if !SameName(same[0], same[1]) {
			t.Errorf("%q is not %q", same[0], same[1])
		}
	}
	for _, other := range [][2]string{{"", ""}, {"Yılmaz", ""}, {"Isık", "Işık"}, {"INAN", "inan"}, {"Yılmaz", "Yilmaz"}, {"...", "---"}, {"Kaya Demir", "Demir Kaya"}, {strings.Repeat("a", 2000), strings.Repeat("a", 2000)}} {
		if SameName(other[0], other[1]) {
			t.Errorf("%.40q is %.40q", other[0], other[1])
		}
	}
}

func TestReading(t *testing.T) {
	for in, want := range map[string]string{
		"23.04.1985": "1985-04-23", "23/4/1985": "1985-04-23", "1985-04-23": "1985-04-23", " 23 04 1985 ": "1985-04-23", "٢٣.٠٤.١٩٨٥": "1985-04-23",
		"23041985": "1985-04-23", "31.02.1985": "", "23.04.85": "", "": "", "23.04.1985x": "", "04.23.1985": "", "1.1.0001": "", strings.Repeat("1", 100): "",
	} {
		if got, ok := Birthdate(in); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %v, want %q", in, got, ok, want)
		}
	}
	for in, want := range map[string]string{"a12b34567": "A12B34567", " A12-B34 567 ": "A12B34567", "ıi1": "II1", "Ａ１２": "A12", "": "", "ş": ""} {
		if got := Serial(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]bool{"123456": true, "123 456": true, "١٢٣٤٥٦": true, "12345": false, "1234567": false, "12345a": false, "": false} {
		if _, ok := codeOf(in); ok != want {
			t.Errorf("%q: %v", in, ok)
		}
	}
}

// ayse is a person who may recover, and what is right of her.
func ayse() (Subject, Details) {
	return Subject{
		Account:  account.Account{ID: "a", State: account.Active},
		Person:   account.Person{NationalID: "10000000146", Kind: account.Citizen, GivenName: "Ayşe", FamilyName: "Yılmaz", Birthdate: "1985-04-23", Documents: []account.Document{{Type: account.Passport, Serial: "U999"}, {Type: account.IDCard, Serial: "A12B34567"}}},
		Contacts: contact.Contacts{Phone: contact.Phone{Number: "+905550000001", Grade: contact.Verified}, Email: contact.Email{Address: "Ayse@example.org", Verified: true}},
	}, Details{Born: "1985-04-23", Family: "YILMAZ", Document: account.IDCard, Serial: "a12b 34567"}
}

func TestMay(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Subject)
		kind   account.Kind
		want   bool
	}{
		"a citizen":             {func(*Subject) {}, account.Citizen, true},
		"a blue-card holder":    {func(s *Subject) { s.Person.Kind = account.BlueCard }, account.BlueCard, true},
		"not the sort typed":    {func(*Subject) {}, account.BlueCard, false},
		"a foreigner":           {func(s *Subject) { s.Person.Kind = account.Foreigner }, account.Citizen, false},
		"a foreigner, as typed": {func(s *Subject) { s.Person.Kind = account.Foreigner }, account.Foreigner, false},
		"of 15 today":           {func(s *Subject) { s.Person.Birthdate = "2011-03-04" }, account.Citizen, true},
		"of 15 tomorrow":        {func(s *Subject) { s.Person.Birthdate = "2011-03-05" }, account.Citizen, false},
		"of no known age":       {func(s *Subject) { s.Person.Birthdate = "" }, account.Citizen, false},
		"locked":                {func(s *Subject) { s.Account.State = account.Locked }, account.Citizen, false},
		"dead":                  {func(s *Subject) { s.Account.State = account.Deceased }, account.Citizen, false},
		"stopped":               {func(s *Subject) { s.Stopped = true }, account.Citizen, false},
		"nobody":                {func(s *Subject) { *s = Subject{} }, account.Citizen, false},
	} {
		s, _ := ayse()
		tc.change(&s)
		if got := may(s, tc.kind, noon); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRight(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Subject, *Details)
		want   bool
	}{
		"all":                            {func(*Subject, *Details) {}, true},
		"another document of hers":       {func(_ *Subject, d *Details) { d.Document, d.Serial = account.Passport, "u-999" }, true},
		"the serial of another document": {func(_ *Subject, d *Details) { d.Serial = "U999" }, false},
		"no document, though there is":   {func(_ *Subject, d *Details) { d.Document, d.Serial = "", "" }, false},
		"no document known":              {func(s *Subject, d *Details) { s.Person.Documents, d.Document, d.Serial = nil, "", "" }, true},
		"no document known, wrong name":  {func(s *Subject, d *Details) { s.Person.Documents, d.Family = nil, "Kaya" }, false},
		"another day":                    {func(_ *Subject, d *Details) { d.Born = "1985-04-24" }, false},
		"another name":                   {func(_ *Subject, d *Details) { d.Family = "Yilmaz" }, false},
		"an empty serial against an empty": {func(s *Subject, d *Details) {
			s.Person.Documents, d.Serial = []account.Document{{Type: account.IDCard}}, ""
		}, false},
		"nobody":               {func(s *Subject, d *Details) { *s, *d = Subject{}, Details{} }, false},
		"a person of one name": {func(s *Subject, d *Details) { s.Person.FamilyName, d.Family = "", "ayşe" }, true},
	} {
		s, d := ayse()
		tc.change(&s, &d)
		if got := right(s, d); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// RC3: only what is verified counts, and the e-mail address never alone.
func TestRC3_OnlyVerifiedContacts(t *testing.T) {
	for name, tc := range map[string]struct {
		change       func(*contact.Contacts)
		phone, email string
		want         bool
	}{
		"phone":             {func(*contact.Contacts) {}, "+905550000001", "", true},
		"ID-verified phone": {func(c *contact.Contacts) { c.Phone.Grade = contact.IDVerified }, "+905550000001", "", true},
		"declared phone":    {func(c *contact.Contacts) { c.Phone.Grade = contact.Declared }, "+905550000001", "", false},
		"another phone":     {func(*contact.Contacts) {}, "+905550000002", "", false},
		"one that is to replace it": {func(c *contact.Contacts) {
			c.NewPhone = contact.Phone{Number: "+905550000009", Grade: contact.Verified}
		}, "+905550000009", "", false},
		"the one it replaced":     {func(c *contact.Contacts) { c.OldPhone = "+905550000008" }, "+905550000008", "", false},
		"a blocked SIM card":      {func(c *contact.Contacts) { c.Phone.BlockedAt = noon }, "+905550000001", "", false},
		"none":                    {func(c *contact.Contacts) { c.Phone = contact.Phone{} }, "", "", false},
		"both, as chosen":         {func(c *contact.Contacts) { c.ResetBoth = true }, "+905550000001", "ayse@EXAMPLE.org", true},
		"both, though not chosen": {func(*contact.Contacts) {}, "+905550000001", "ayse@example.org", true},
		"phone, where both":       {func(c *contact.Contacts) { c.ResetBoth = true }, "+905550000001", "", false},
		"unverified address":      {func(c *contact.Contacts) { c.ResetBoth, c.Email.Verified = true, false }, "+905550000001", "ayse@example.org", false},
		"another address":         {func(c *contact.Contacts) { c.ResetBoth = true }, "+905550000001", "eve@example.org", false},
		"address without phone":   {func(*contact.Contacts) {}, "", "ayse@example.org", false},
	} {
		s, _ := ayse()
		tc.change(&s.Contacts)
		if got := reachable(s.Contacts, tc.phone, tc.email); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// fields is a submitted form.
type fields map[string]string

func (f fields) Get(name string) string { return f[name] }

func FuzzDetails(f *testing.F) {
	f.Add("23.04.1985", "Yılmaz", "id_card", "A12B34567")
	f.Add("٢٣.٠٤.١٩٨٥", "\u0130", "none", "")
	f.Add("1985-04-23", "\xff", "passport", "ı\u0327")
	f.Fuzz(func(t *testing.T, born, family, document, serial string) {
		d, err := readDetails(fields{"birthdate": born, "family_name": family, "document": document, "serial": serial})
		if err != nil {
			return
		}
		if again, ok := Birthdate(d.Born); !ok || again != d.Born {
			t.Errorf("%q became %q", born, d.Born)
		}
		if !SameName(d.Family, d.Family) {
			t.Errorf("%q is not itself", d.Family)
		}
		if d.Document != "" && Serial(d.Serial) == "" || Serial(Serial(d.Serial)) != Serial(d.Serial) {
			t.Errorf("serial %q", d.Serial)
		}
		if s, _ := ayse(); right(s, d) && (d.Born != "1985-04-23" || d.Document == "") {
			t.Errorf("%+v is right", d)
		}
	})
}

func FuzzContact(f *testing.F) {
	f.Add("0555 000 00 01", "ayse@example.org")
	f.Add("+90 555 000 00 01", "")
	f.Add("", "a@b\r\nBcc: x")
	f.Fuzz(func(t *testing.T, phone, email string) {
		p, e, err := readContact(fields{"phone": phone, "email": email})
		if err == nil && (p == "" || p[0] != '+' || strings.ContainsAny(p+e, "\r\n \x00")) {
			t.Errorf("%q %q", p, e)
		}
	})
}

func FuzzCode(f *testing.F) {
	f.Add("123 456")
	f.Add("١٢٣-٤٥٦")
	f.Fuzz(func(t *testing.T, s string) {
		if c, ok := codeOf(s); ok && (len(c) != 6 || strings.Trim(c, "0123456789") != "") {
			t.Errorf("%q became %q", s, c)
		}
	})
}
