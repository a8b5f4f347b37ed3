package secret

// Newest is the version of the key that MAC uses now.
func (r *Ring) Newest(p Purpose) uint32 { return r.by[p].newest }

// MACUnder is MAC under one version of the key, for values that must be made again as they were then: the pepper of a
// password that was hashed before the key was renewed. It returns nil when there is no such version.
func (r *Ring) MACUnder(p Purpose, version uint32, parts ...string) []byte {
	key := r.by[p].keys[version]
	if key == nil {
		return nil
	}
	return mac(key, parts)
}
