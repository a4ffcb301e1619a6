package assets

import (
	"strings"

	"golang.org/x/text/language"
)

// languages are the languages of the texts; the first is the default.
var languages = []language.Tag{
	language.English, language.German, language.Spanish, language.French,
}

var matcher = language.NewMatcher(languages)

// maxLanguages is the longest list of languages that is read, in bytes.
const maxLanguages = 1 << 10

// ChooseLanguage returns the language to use (BCP 47): the first supported one of ui_locales,
// which are separated by spaces (RP-Initiated Logout 1.0, section 2), else the best for
// Accept-Language, else English. It ignores invalid values.
func ChooseLanguage(uiLocales, acceptLanguage string) string {
	if len(uiLocales) <= maxLanguages {
		for locale := range strings.FieldsSeq(uiLocales) {
			if tag, err := language.Parse(locale); err == nil {
				if _, i, confidence := matcher.Match(tag); confidence > language.Low {
					return languages[i].String()
				}
			}
		}
	}
	if len(acceptLanguage) <= maxLanguages {
		if tags, _, err := language.ParseAcceptLanguage(acceptLanguage); err == nil {
			_, i, _ := matcher.Match(tags...)
			return languages[i].String()
		}
	}
	return languages[0].String()
}
