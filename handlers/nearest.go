package handlers

import (
	"fmt"
	"slices"
	"strings"
)

// Nearest returns the known word that another one probably stands for; empty: none is near. A word
// is near with few edits, or if it begins or ends exactly one known word.
func Nearest(word string, known []string) string {
	best, edits := "", min(3, 1+len(word)/4)+1
	var parts []string
	for _, other := range slices.Sorted(slices.Values(known)) {
		n := distance(strings.ToLower(word), strings.ToLower(other))
		if n < edits && n < len(other) {
			best, edits = other, n
		}
		if len(word) > 3 && (strings.HasPrefix(other, word) || strings.HasSuffix(other, word)) {
			parts = append(parts, other)
		}
	}
	if best == "" && len(parts) == 1 {
		return parts[0]
	}
	return best
}

// DidYouMean returns the end of an error about an unknown word; empty: no known word is near.
func DidYouMean(word string, known []string) string {
	if nearest := Nearest(word, known); nearest != "" {
		return fmt.Sprintf(": did you mean '%s'?", nearest)
	}
	return ""
}

// distance returns the fewest insertions, deletions, substitutions and swaps of neighbours between
// two words (optimal string alignment).
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			if row[j+1] = min(row[j], last[j+1]) + 1; a[i] == b[j] {
				row[j+1] = min(row[j+1], last[j])
			} else {
				row[j+1] = min(row[j+1], last[j]+1)
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// OneOf reports why an option cannot have a value. An empty value is the default.
func OneOf(option, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	last := len(allowed) - 1
	return fmt.Errorf("%s is %q, but must be %s or %s%s", option, value,
		strings.Join(allowed[:last], ", "), allowed[last], DidYouMean(value, allowed))
}
