package e2e

import "testing"

// Half of a sign-in is done when one of two replicas dies without a word; the person does not notice.
func TestReplicaDiesMidway(t *testing.T) {
	t.Parallel()
	c := FoundOnPostgres(t, 2)
	ayse := who(t, "Ayşe")
	b := Visit(t, How{})

	b.Open(c.Portal + "/login").SignsIn(ayse).See("Enter the code we sent to your phone ending 01")
	code := c.Code(ayse)
	c.Kill(0)
	b.Type("code", code).Submit()
	b.At(c.Portal).See(b.bothSteps())
	b.Open(c.Second + "/login").At(c.Second) // the session lives on too
}

func TestSignInAcrossReplicas(t *testing.T) {
	t.Parallel()
	c := FoundOnPostgres(t, 2)
	b := Visit(t, How{Unlooked: true})
	for _, name := range []string{"Ayşe", "Maria"} {
		p := who(t, name)
		b.Open(c.Portal+"/login").SignsIn(p).Confirms(c, p).At(c.Portal).See(b.bothSteps())
		b.Press("Sign out").At(c.Portal)
	}
	for i, r := range c.replicas {
		if r.served.Load() == 0 {
			t.Errorf("replica %d served nothing", i)
		}
	}
}
