package provider

import "embed"

// Words holds the sentences of the errors this package gives to Pages.Failure.
//
//go:embed words.json
var Words embed.FS
