package visitor

// samples try every page out when the program starts.
var samples = map[string]any{
	"trouble.html":   stepView{Action: "/", Others: []way{{Name: "sms", Path: "/"}}},
	"choose.html":    chooseView{Action: "/", Ways: []way{{Name: "sms"}}},
	"account.html":   accountView{Action: "/", Person: "…"},
	"explain.html":   explainView{Action: "/", Reason: "phone"},
	"consent.html":   consentView{Action: "/", Scopes: told, Institution: "…"},
	"formpost.html":  formView{Action: "/", Fields: []Field{{"code", "…"}}},
	"logout.html":    formView{Action: "/"},
	"signedout.html": signedOutView{},
	"about.html":     aboutView{},
	"done.html":      struct{}{}, "start.html": struct{}{}, "help.html": struct{}{}, "privacy.html": struct{}{},
}
