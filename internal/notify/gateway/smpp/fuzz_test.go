package smpp

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// FuzzPDU feeds what a broken or hostile centre may send through the library's parser and our reading of it: a panic there
// would end the process, since it happens in a goroutine of the library's own.
func FuzzPDU(f *testing.F) {
	add := func(p pdu.PDU) {
		b := pdu.NewBuffer(nil)
		p.Marshal(b)
		f.Add(b.Bytes())
	}
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.EsmClass = 4
	_ = d.Message.SetMessageWithEncoding("id:1 stat:DELIVRD err:000 text:123456", data.GSM7BIT)
	d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagMessageStateOption, Data: []byte{2}})
	add(d)
	d.EsmClass = 0x44
	add(d)
	add(pdu.NewSubmitSMResp())
	add(pdu.NewGenericNack())
	add(pdu.NewEnquireLink())
	add(pdu.NewUnbind())
	add(pdu.NewBindTransceiver())
	f.Fuzz(func(t *testing.T, b []byte) {
		g := newGuard(conn{bytes.NewReader(b)})
		for {
			p, err := pdu.Parse(g) // as the library does
			if err != nil {
				return
			}
			if d, ok := p.(*pdu.DeliverSM); ok {
				switch s := state(d); s {
				case "", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD":
				default:
					t.Fatalf("state %q", s)
				}
			}
			if p.CanResponse() {
				p.GetResponse().Marshal(pdu.NewBuffer(nil))
			}
		}
	})
}

// conn is a connection that only reads.
type conn struct{ *bytes.Reader }

func (conn) Write(b []byte) (int, error)      { return len(b), nil }
func (conn) Close() error                     { return nil }
func (conn) LocalAddr() net.Addr              { return nil }
func (conn) RemoteAddr() net.Addr             { return nil }
func (conn) SetDeadline(time.Time) error      { return nil }
func (conn) SetReadDeadline(time.Time) error  { return nil }
func (conn) SetWriteDeadline(time.Time) error { return nil }

// A query_sm with an optional parameter makes the library's parser panic.
func TestGuardStopsWhatTheLibraryDoesNotSurvive(t *testing.T) {
	for _, id := range []byte{3, 5} { // query_sm is no command of a centre; deliver_sm is, cut short
		whole := append([]byte{0, 0, 0, 26, 0, 0, 0, id, 0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 10)...)
		if _, err := newGuard(conn{bytes.NewReader(whole)}).Read(make([]byte, 100)); err == nil {
			t.Errorf("command %d: let through", id)
		}
	}
	// query_sm: empty message_id, ton, npi, empty address, then message_state as an optional parameter
	if try([]byte{0, 0, 0, 25, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0x27, 0, 1, 2}) == nil {
		t.Error("a panic of the parser went unnoticed")
	}
}
