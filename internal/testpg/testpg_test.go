package testpg

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestFreshDatabases(t *testing.T) {
	ctx := context.Background()
	a, b := URL(t), URL(t)
	if a == b {
		t.Fatal("one database for two")
	}
	c, err := pgx.Connect(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, "CREATE TABLE x (id INT)"); err != nil {
		t.Fatal(err)
	}
	d, err := pgx.Connect(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(ctx)
	if _, err := d.Exec(ctx, "SELECT * FROM x"); err == nil {
		t.Error("a table of one database is seen in the other")
	}
	e, err := pgx.Connect(ctx, Shared(t).AddressTCP("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	e.Close(ctx)
}
