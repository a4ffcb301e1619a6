package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/compatibility.md as the tests find them")

// documentLock is held by the test that reads or writes docs/compatibility.md.
var documentLock sync.Mutex

// A table is one of docs/compatibility.md. It is filled by tests that run at the same time.
type table struct {
	head []string

	mu   sync.Mutex
	rows []tableRow
}

type tableRow struct {
	place []int // rows are in the order of these
	cells []string
}

func newTable(head ...string) *table { return &table{head: head} }

func (r *table) add(cells []string, place ...int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, tableRow{place, cells})
	slices.SortFunc(r.rows, func(a, b tableRow) int { return slices.Compare(a.place, b.place) })
}

// markdown returns the table as it is written in a document.
func (r *table) markdown() string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(r.head)
	b.WriteString(strings.Repeat("|---", len(r.head)) + "|\n")
	for _, row := range r.rows {
		line(row.cells)
	}
	return b.String()
}

// expectDocumented prints the table, and expects it in docs/compatibility.md, between the comments
// with its name. Nothing is expected where only some of the rows were asked for.
func (r *table) expectDocumented(t *testing.T, name string, rows int) {
	t.Helper()
	got := r.markdown()
	t.Logf("%s:\n%s", name, got)
	if len(r.rows) != rows {
		t.Logf("%d of %d rows: not compared with the document", len(r.rows), rows)
		return
	}
	documentLock.Lock()
	defer documentLock.Unlock()
	file := filepath.Join("..", "docs", "compatibility.md")
	document, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, documented, after, err := section(string(document), name)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case documented == got:
	case *update:
		if err := os.WriteFile(file, []byte(before+got+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/compatibility.md has another table (-update writes it):\n%s", documented)
	}
}

// section cuts a document at the table of a name.
func section(document, name string) (before, table, after string, err error) {
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	before, rest, hasBegin := strings.Cut(document, begin)
	table, after, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		return "", "", "", fmt.Errorf("the document has no table %q", name)
	}
	return before + begin, table, end + after, nil
}
