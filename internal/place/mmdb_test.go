package place

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
)

// mmdb writes an MMDB file (format 2.0): a binary tree over the bits of an IPv6 address, IPv4 below ::/96, then 16 zero bytes, the
// records, and the description. The tree has 24-bit records.
func mmdb(records map[string]any) []byte {
	type node [2]int // 0 = nothing, > 0 = node, < 0 = -(offset of a record + 1)
	tree := []node{{}}
	var data bytes.Buffer
	for _, network := range slices.Sorted(maps.Keys(records)) {
		prefix := netip.MustParsePrefix(network)
		bits := prefix.Bits()
		bytes := prefix.Addr().As16()
		if prefix.Addr().Is4() {
			bits += 96
			bytes[10], bytes[11] = 0, 0 // ::192.0.2.1, not ::ffff:192.0.2.1
		}
		at := 0
		for i := range bits {
			side := bytes[i/8] >> (7 - i%8) & 1
			if i == bits-1 {
				tree[at][side] = -(data.Len() + 1)
				break
			}
			if tree[at][side] == 0 {
				tree = append(tree, node{})
				tree[at][side] = len(tree) - 1
			}
			at = tree[at][side]
		}
		encode(&data, records[network])
	}
	var out bytes.Buffer
	for _, n := range tree {
		for _, v := range n {
			switch {
			case v == 0:
				v = len(tree)
			case v < 0:
				v = len(tree) + 16 - v - 1
			}
			out.Write([]byte{byte(v >> 16), byte(v >> 8), byte(v)})
		}
	}
	out.Write(make([]byte, 16))
	out.Write(data.Bytes())
	out.WriteString("\xab\xcd\xefMaxMind.com")
	encode(&out, map[string]any{
		"binary_format_major_version": uint16(2), "binary_format_minor_version": uint16(0), "build_epoch": uint64(1_780_000_000),
		"database_type": "Test-City", "description": map[string]any{"en": "Made by a test"}, "ip_version": uint16(6),
		"languages": []any{"en", "tr"}, "node_count": uint32(len(tree)), "record_size": uint16(24),
	})
	return out.Bytes()
}

func encode(w *bytes.Buffer, v any) {
	control := func(kind, size int) {
		long := size >= 29
		first := size
		if long {
			first = 29
		}
		if kind > 7 {
			w.Write([]byte{byte(first), byte(kind - 7)})
		} else {
			w.WriteByte(byte(kind<<5 | first))
		}
		if long {
			w.WriteByte(byte(size - 29))
		}
	}
	switch v := v.(type) {
	case string:
		control(2, len(v))
		w.WriteString(v)
	case uint16:
		control(5, 2)
		w.Write(binary.BigEndian.AppendUint16(nil, v))
	case uint32:
		control(6, 4)
		w.Write(binary.BigEndian.AppendUint32(nil, v))
	case uint64:
		control(9, 8)
		w.Write(binary.BigEndian.AppendUint64(nil, v))
	case []any:
		control(11, len(v))
		for _, e := range v {
			encode(w, e)
		}
	case map[string]any:
		control(7, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			encode(w, k)
			encode(w, v[k])
		}
	default:
		panic(v)
	}
}
