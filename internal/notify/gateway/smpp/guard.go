package smpp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// guard hands the library one PDU at a time, and only such as a centre may send and the library survives: its parser
// panics on some, in a goroutine of its own where nobody could catch it, and that would end the process.
type guard struct {
	net.Conn
	in   *bufio.Reader
	rest []byte // of the PDU that is being read
}

func newGuard(c net.Conn) *guard { return &guard{Conn: c, in: bufio.NewReader(c)} }

const (
	header  = 16
	mostPDU = 8 << 10
)

// What a centre sends to a transceiver (SMPP 3.4 §2.3).
var fromCentre = map[data.CommandIDType]bool{
	data.BIND_TRANSCEIVER_RESP: true, data.SUBMIT_SM_RESP: true, data.DELIVER_SM: true, data.ENQUIRE_LINK: true,
	data.ENQUIRE_LINK_RESP: true, data.UNBIND: true, data.UNBIND_RESP: true, data.GENERIC_NACK: true,
}

func (g *guard) Read(b []byte) (int, error) {
	if len(g.rest) == 0 {
		next, err := g.next()
		if err != nil {
			return 0, err
		}
		g.rest = next
	}
	n := copy(b, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// next reads a whole PDU and tries it.
func (g *guard) next() ([]byte, error) {
	var head [header]byte
	if _, err := io.ReadFull(g.in, head[:]); err != nil {
		return nil, err
	}
	size, id := binary.BigEndian.Uint32(head[:]), data.CommandIDType(binary.BigEndian.Uint32(head[4:]))
	if size < header || size > mostPDU || !fromCentre[id] {
		return nil, fmt.Errorf("smpp: a PDU of %d bytes with command_id 0x%08X", size, uint32(id))
	}
	whole := append(make([]byte, 0, size), head[:]...)[:size]
	if _, err := io.ReadFull(g.in, whole[header:]); err != nil {
		return nil, err
	}
	return whole, try(whole)
}

// try does with a PDU all that will be done with it later.
func try(b []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("smpp: a PDU that cannot be read")
		}
	}()
	p, err := pdu.Parse(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if d, ok := p.(*pdu.DeliverSM); ok {
		_ = state(d)
	}
	if p.CanResponse() {
		p.GetResponse().Marshal(pdu.NewBuffer(nil))
	}
	return nil
}
