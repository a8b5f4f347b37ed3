package portal

// say is a sentence of the portal. An unknown key shows itself; a test holds the templates to the list.
func say(lang, key string) string {
	s, ok := sentences[key]
	if !ok {
		return key
	}
	if lang == "en" {
		return s.en
	}
	return s.tr
}

type sentence struct{ tr, en string }

var sentences = map[string]sentence{
	"portal":    {"SGK Bildirim Portalı", "SSI Notification Portal"},
	"owner":     {"Sosyal Güvenlik Kurumu · tanıtım", "Social Security Institution · demonstration"},
	"skip":      {"İçeriğe geç", "Skip to content"},
	"switch":    {"English", "Türkçe"},
	"signin":    {"Giriş yap", "Sign in"},
	"signout":   {"Çıkış yap", "Sign out"},
	"home":      {"Ana sayfa", "Home"},
	"continue":  {"Devam et", "Continue"},
	"again":     {"Yeniden dene", "Try again"},
	"back":      {"Portala geri dön", "Back to the portal"},
	"code":      {"Hata kodu", "Error code"},
	"sites":     {"Sayfalar", "Pages"},
	"and":       {"ve", "and"},
	"error":     {"Hata", "Error"},
	"synthetic": {"Buradaki kişiler ve bildirimler kurgusaldır.", "The people and notifications here are made up."},

	"hello.title":  {"İş göremezlik bildirimleri tek yerde", "Incapacity notifications in one place"},
	"hello.text":   {"Bildirimlerinizi görmek ve belgelerinizi onaylamak için Kapı ile giriş yapın.", "Sign in with Kapı to see your notifications and to approve your documents."},
	"hello.plain":  {"Kimlik numaranız ve şifreniz yeter. Kişisel bilgi gösteren sayfalar ikinci bir adım ister.", "Your ID number and password are enough. Pages that show personal data ask for a second step."},
	"welcome":      {"Hoş geldiniz", "Welcome"},
	"how.title":    {"Nasıl giriş yaptınız", "How you signed in"},
	"how.before":   {"", "You signed in with "},
	"how.after":    {" ile giriş yaptınız.", "."},
	"how.when":     {"Ne zaman", "When"},
	"how.level":    {"Güvence düzeyi", "Level of assurance"},
	"how.known":    {"Bu portal sizi şu numarayla tanır", "This portal knows you by this number"},
	"how.private":  {"Başka bir kurum sizi başka bir numarayla tanır.", "Another institution knows you by another number."},
	"how.all":      {"Kapı'nın bildirdiği her şey", "Everything that Kapı told us"},
	"how.claim":    {"Ad", "Name"},
	"how.value":    {"Değer", "Value"},
	"pages.notice": {"İki aşamalı giriş ister", "Asks for two-factor authentication"},
	"pages.sign":   {"Yeni bir giriş ister", "Asks for a fresh sign-in"},

	"method.password": {"şifreniz", "your password"},
	"method.pwd":      {"şifreniz", "your password"},
	"method.sms":      {"telefonunuza gönderilen kod", "a code sent to your phone"},
	"method.device":   {"kayıtlı cihazınız", "your registered device"},
	"method.totp":     {"kod uygulamanız", "your code app"},
	"method.otp":      {"tek kullanımlık kod", "a one-time code"},
	"method.webauthn": {"güvenlik anahtarınız", "your security key"},
	"method.backup":   {"yedek kodunuz", "a backup code"},
	"method.other":    {"başka bir yöntem", "another method"},

	"level.low":         {"Düşük: tek adım", "Low: one step"},
	"level.substantial": {"Yeterli: iki adım", "Substantial: two steps"},
	"level.high":        {"Yüksek: kimlik kartı ya da e-imza", "High: ID card or electronic signature"},
	"level.none":        {"Bildirilmedi", "Not stated"},

	"notices.title":   {"Bildirimlerim", "My notifications"},
	"notices.ask":     {"Bu sayfada sağlık bilgileriniz var. Görmek için iki aşamalı giriş yapın.", "This page shows data about your health. Sign in with two-factor authentication to see it."},
	"notices.intro":   {"İki adımla giriş yaptığınız için bildirimlerinizi görüyorsunuz.", "You see your notifications because you signed in with two steps."},
	"notices.caption": {"Son bildirimler", "Latest notifications"},
	"notices.number":  {"Rapor no", "Report no"},
	"notices.period":  {"Süre", "Period"},
	"notices.state":   {"Durum", "State"},
	"notices.waiting": {"İşveren onayı bekliyor", "Waiting for the employer"},
	"notices.done":    {"Ödendi", "Paid"},
	"notices.days":    {"gün", "days"},

	"document.title":  {"Belge onayı", "Approve a document"},
	"document.ask":    {"Onaydan önce siz olduğunuzu yeniden gösterin. Her onay için yeni bir giriş gerekir.", "Show once more that it is you before you approve. Each approval needs a fresh sign-in."},
	"document.text":   {"2026-0412 numaralı raporlu olduğum sürede işyerinde çalışmadığımı bildiririm.", "I declare that I did not work during the period of report 2026-0412."},
	"document.sign":   {"Onayla", "Approve"},
	"document.signed": {"Belgeyi onayladınız.", "You have approved the document."},

	"bye.title": {"Çıkış yaptınız", "You are signed out"},
	"bye.text":  {"Bu bilgisayarı başkaları da kullanıyorsa tarayıcıyı kapatın.", "If others use this computer too, close the browser."},

	"away.title":     {"Giriş şu anda yapılamıyor", "Sign-in is not available right now"},
	"away.text":      {"Giriş hizmeti yanıt vermiyor. Birkaç dakika sonra yeniden deneyin.", "The sign-in service does not answer. Try again in a few minutes."},
	"stale.title":    {"Bu girişin süresi doldu", "This sign-in has expired"},
	"stale.text":     {"Yanıt bu tarayıcının bekleyen bir girişine ait değil. Yeniden başlayın.", "The answer belongs to no sign-in that this browser waits for. Start again."},
	"broken.title":   {"Giriş tamamlanamadı", "The sign-in could not be completed"},
	"broken.text":    {"Giriş hizmetinin yanıtı denetimden geçmedi. Yeniden deneyin.", "The answer of the sign-in service did not pass our checks. Try again."},
	"notfound.title": {"Sayfa bulunamadı", "Page not found"},
	"notfound.text":  {"Bu adreste bir sayfa yok. Ana sayfadan devam edin.", "There is no page at this address. Go on from the home page."},

	"refused.access_denied.title":                     {"Girişten vazgeçildi", "The sign-in was cancelled"},
	"refused.access_denied.text":                      {"Bilgileriniz bizimle paylaşılmadı. İsterseniz yeniden giriş yapabilirsiniz.", "Nothing about you was shared with us. You can sign in again if you like."},
	"refused.unmet_authentication_requirements.title": {"Bu sayfa için daha güçlü bir giriş gerekiyor", "This page needs a stronger sign-in"},
	"refused.unmet_authentication_requirements.text":  {"Girişiniz istenen güvence düzeyine ulaşmadı. Kapı'da iki aşamalı girişi açıp yeniden deneyin.", "Your sign-in did not reach the level that the page needs. Turn on two-factor authentication at Kapı and try again."},
	"refused.login_required.title":                    {"Giriş yapmanız gerekiyor", "You need to sign in"},
	"refused.login_required.text":                     {"Kapı'da açık ve yeterli bir oturumunuz yok. Giriş yaparak devam edin.", "You have no open session at Kapı that is enough. Go on by signing in."},
	"refused.temporarily_unavailable.title":           {"Giriş şu anda yapılamıyor", "Sign-in is not available right now"},
	"refused.temporarily_unavailable.text":            {"Giriş hizmeti isteği tamamlayamadı. Birkaç dakika sonra yeniden deneyin.", "The sign-in service could not complete the request. Try again in a few minutes."},
	"refused.other.title":                             {"Giriş yapılamadı", "You could not be signed in"},
	"refused.other.text":                              {"Giriş hizmeti isteği geri çevirdi. Sürerse bize aşağıdaki kodu bildirin.", "The sign-in service refused the request. If this goes on, tell us the code below."},
}
