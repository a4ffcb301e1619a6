package oidcsession

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// An option parses one option of a block; the dispenser is at its name.
type option func(d *caddyfile.Dispenser) error

// options are those of a block, by name.
type options map[string]option

// parse parses a block. A check, if there is one, judges its options together, since one may mend
// another: an error names the line of the first option with which it came.
func (o options) parse(d *caddyfile.Dispenser, block string, check func() error) error {
	lines := make(map[string]caddyfile.Dispenser)
	judge := func(line caddyfile.Dispenser) error {
		if check == nil {
			return nil
		}
		err := check()
		if err == nil {
			return nil
		}
		if _, known := lines[err.Error()]; !known {
			lines[err.Error()] = line
		}
		line = lines[err.Error()]
		return line.WrapErr(err)
	}
	err := judge(*d)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		line, name := *d, d.Val()
		parse, known := o[name]
		if !known {
			return d.Errf("unrecognized %s option '%s'%s",
				block, name, handlers.DidYouMean(name, slices.Collect(maps.Keys(o))))
		}
		if err := parse(d); err != nil {
			return err
		}
		err = judge(line)
	}
	return err
}

// located returns an error with file and line, and with the option if it does not name it itself.
func located(d *caddyfile.Dispenser, name string, err error) error {
	if !strings.Contains(err.Error(), name) {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return d.WrapErr(err)
}

// endOfLine refuses further arguments and a block.
func endOfLine(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		return d.Errf("unrecognized option '%s'", d.Val())
	}
	return nil
}

// arguments parses an option with at least as many arguments as least, and at most as many as most;
// 0: any number.
func arguments(least, most int, take func(name string, args []string) error) option {
	return func(d *caddyfile.Dispenser) error {
		name, args := d.Val(), d.RemainingArgs()
		if len(args) < least || most > 0 && len(args) > most {
			return d.ArgErr()
		}
		if err := take(name, args); err != nil {
			return located(d, name, err)
		}
		return endOfLine(d)
	}
}

// scalar parses the one argument of an option that may be given once. A nil check takes any.
func scalar(value *string, check func(string) error) option {
	return arguments(1, 1, func(name string, args []string) error {
		switch {
		case *value != "":
			return fmt.Errorf("%s is given twice", name)
		case args[0] == "":
			return fmt.Errorf("%s is empty", name)
		}
		*value = args[0]
		if check == nil {
			return nil
		}
		return check(*value)
	})
}

// list parses an option with one or more arguments that may be given once.
func list(values *[]string, check func(...string) error) option {
	return arguments(1, 0, func(name string, args []string) error {
		switch {
		case *values != nil:
			return fmt.Errorf("%s is given twice: write all on one line", name)
		case slices.Contains(args, ""):
			return fmt.Errorf("%s is empty", name)
		}
		*values = args
		return check(args...)
	})
}

// duration parses an option with a duration, such as 12h or 30d, that may be given once.
func duration(value *caddy.Duration, check func(caddy.Duration) error) option {
	return arguments(1, 1, func(name string, args []string) error {
		parsed, err := caddy.ParseDuration(args[0])
		switch {
		case *value != 0:
			return fmt.Errorf("%s is given twice", name)
		case err != nil:
			return fmt.Errorf("%s: '%s' is no duration, such as 90s, 12h or 30d", name, args[0])
		case parsed == 0:
			return fmt.Errorf("%s is 0, which stands for the default: leave the option out", name)
		}
		*value = caddy.Duration(parsed)
		return check(*value)
	})
}

// onOff parses an option without arguments that may be given once.
func onOff(value *bool) option {
	return func(d *caddyfile.Dispenser) error {
		if *value {
			return d.Errf("%s is given twice", d.Val())
		}
		*value = true
		return endOfLine(d)
	}
}

// more parses an option with one or more arguments that may be given several times.
func more(values *[]string) option {
	return arguments(1, 0, func(_ string, args []string) error {
		*values = append(*values, args...)
		return nil
	})
}

// pair parses an option with a name and a value, each name of which may be given once.
func pair(values *map[string]string) option {
	return arguments(2, 2, func(name string, args []string) error {
		if _, given := (*values)[args[0]]; given {
			return fmt.Errorf("%s %s is given twice", name, args[0])
		}
		if *values == nil {
			*values = make(map[string]string)
		}
		(*values)[args[0]] = args[1]
		return nil
	})
}

// statuses parses status codes and classes of them, such as 2xx.
func statuses(codes *[]int) option {
	return arguments(1, 0, func(name string, args []string) error {
		if *codes != nil {
			return fmt.Errorf("%s is given twice", name)
		}
		for _, arg := range args {
			text := arg
			if len(text) == 3 && text[1:] == "xx" {
				text = text[:1]
			}
			code, err := strconv.Atoi(text)
			if err != nil {
				return fmt.Errorf("'%s' is no status code, such as 302 or 2xx", arg)
			}
			*codes = append(*codes, code)
		}
		return nil
	})
}
