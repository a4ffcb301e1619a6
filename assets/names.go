package assets

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
)

// MaxName is how many characters of a name pages show.
const MaxName = 100

const brailleBlank = '\u2800' // graphic, but invisible

// PlainName returns a name as pages show it: one line of at most [MaxName] characters, without
// control characters, invisible ones, and those that change the direction of the text around them.
func PlainName(name string) string {
	name = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsGraphic(c), unicode.In(c, unicode.Other_Default_Ignorable_Code_Point),
			c == utf8.RuneError, c == brailleBlank:
			return -1
		}
		return c
	}, name)
	return Shorten(strings.Join(strings.Fields(name), " "), MaxName)
}

// Shorten cuts a text to at most so many characters, the last of which is then an ellipsis.
func Shorten(text string, most int) string {
	if characters := []rune(text); len(characters) > most {
		return string(characters[:most-1]) + "…"
	}
	return text
}

// plainView returns a view with plain names. It isolates those with characters from right to left.
func plainView(view View) View {
	for _, name := range []*string{&view.Issuer, &view.Client, &view.BackName, &view.Host} {
		*name = isolated(PlainName(*name))
	}
	for _, names := range []*[]string{
		&view.Told, &view.Asked, &view.Retrying, &view.Failed, &view.Untold,
	} {
		*names = plainNames(*names)
	}
	return view
}

func plainNames(names []string) []string {
	var plain []string
	for _, name := range names {
		plain = append(plain, isolated(PlainName(name)))
	}
	return plain
}

// isolated puts a name with characters from right to left between FIRST STRONG ISOLATE and POP
// DIRECTIONAL ISOLATE (Unicode Standard Annex 9, section 2.4.2), so that the text around it stays
// in order.
func isolated(name string) string {
	if !strings.ContainsFunc(name, func(c rune) bool {
		properties, _ := bidi.LookupRune(c)
		return properties.Class() == bidi.R || properties.Class() == bidi.AL
	}) {
		return name
	}
	return "\u2068" + name + "\u2069"
}
