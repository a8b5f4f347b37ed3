package program

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// console is what a command may use of its surroundings.
type console struct {
	environ  []string
	out, err io.Writer
}

type commands struct {
	Demo    demoCmd    `cmd:"" help:"A whole country on one laptop: provider, portal and phone."`
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Health  healthCmd  `cmd:"" help:"Ask whether the server here is well."`
	Migrate migrateCmd `cmd:"" help:"Bring the database schema up."`
	Secret  secretCmd  `cmd:"" help:"The root key."`
	Client  clientCmd  `cmd:"" help:"The applications that may ask."`
	Person  personCmd  `cmd:"" help:"People from the civil registry."`
	Keys    keysCmd    `cmd:"" help:"The signing keys."`
	Audit   auditCmd   `cmd:"" help:"The tamper-evident record."`
	Version versionCmd `cmd:"" help:"Version, commit and Go version."`
}

// configured is embedded in every command that needs the settings: one flag for each of them, made from the same table
// that the environment is checked against.
type configured struct {
	Config string `placeholder:"FILE" help:"File of KAPI_NAME=value lines."`
	kong.Plugins
}

func newConfigured() configured {
	fields := make([]reflect.StructField, len(settings))
	for i, s := range settings {
		help := s.help + " (" + s.variable() + ")"
		if s.def != "" {
			help = s.help + ", default " + s.def + " (" + s.variable() + ")"
		}
		tag := fmt.Sprintf(`name:"%s" placeholder:"%s" help:"%s"`, s.flag(), strings.ToUpper(s.name), strings.ReplaceAll(help, `"`, `\"`))
		fields[i] = reflect.StructField{Name: "F" + s.name, Type: reflect.TypeFor[*string](), Tag: reflect.StructTag(tag)}
	}
	return configured{Plugins: kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}}
}

// settings resolves the flags, the environment and the file.
func (c configured) settings(con *console) (Settings, error) {
	flags := map[string]string{}
	v := reflect.ValueOf(c.Plugins[0]).Elem()
	for i, s := range settings {
		if p := v.Field(i).Interface().(*string); p != nil {
			flags[s.name] = *p
		}
	}
	return resolve(flags, con.environ, c.Config)
}

// newParser knows every command; exit is called after --help.
func newParser(con *console, exit func(code int)) (*kong.Kong, error) {
	cli := commands{}
	for _, c := range []*configured{
		&cli.Serve.configured, &cli.Health.configured, &cli.Migrate.configured, &cli.Client.Apply.configured, &cli.Client.List.configured,
		&cli.Client.Show.configured, &cli.Client.RotateSecret.configured, &cli.Person.Apply.configured, &cli.Person.Unlock.configured,
		&cli.Person.VouchPhone.configured, &cli.Person.UnblockSIM.configured, &cli.Person.Release.configured,
		&cli.Keys.List.configured, &cli.Keys.Rotate.configured, &cli.Keys.Remove.configured, &cli.Audit.Verify.configured,
	} {
		*c = newConfigured()
	}
	return kong.New(&cli, kong.Name("kapi"), kong.Writers(con.out, con.err),
		kong.Description("Kapi, an OpenID Connect identity provider for a country."),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
}

// Main runs one command and returns the exit status: 0 done, 1 failed, 2 not understood.
func Main(args, environ []string, stdout, stderr io.Writer) (status int) {
	con := &console{environ: environ, out: stdout, err: stderr}
	exit, exited := 0, false
	parser, err := newParser(con, func(code int) { exit, exited = code, true })
	if err != nil {
		fmt.Fprintln(stderr, "kapi:", err)
		return 2
	}
	kctx, err := parser.Parse(args)
	if exited { // --help
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "kapi: %v\nkapi --help lists the commands.\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kctx.BindTo(ctx, (*context.Context)(nil))
	if err := kctx.Run(con); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintln(stderr, "kapi:", line)
		}
		return 1
	}
	return 0
}
