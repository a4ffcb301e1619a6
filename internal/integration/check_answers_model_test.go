package integration

import (
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// modelSeedVariable is the environment variable that has the seed of the first random sequence: a
// number, or "random". Without it the sequences are the same each time, so that none fails for a
// change which has nothing to do with it.
const modelSeedVariable = "OIDC_SESSION_MODEL_SEED"

var (
	modelSequences = flag.Int("model.sequences", 60, "how many random sequences")
	modelSteps     = flag.Int("model.steps", 40, "how many steps each has")
)

// TestTheCheckSaysWhatIsSoAtTheOP does random things at a random OP, in a browser and at the server, and compares all that RPs are
// replied with the truth. Each failing sequence is reported with its seed, and in short. To repeat it:
//
//	OIDC_SESSION_MODEL_SEED=SEED go test ./internal/integration -run TestTheCheckSaysWhatIsSoAtTheOP -model.sequences 1
func TestTheCheckSaysWhatIsSoAtTheOP(t *testing.T) {
	seed := seedOfModel(t)
	t.Logf("%d sequences of %d steps from seed %d", *modelSequences, *modelSteps, seed)
	for i := range uint64(*modelSequences) {
		steps := randomSteps(rand.New(rand.NewPCG(seed+i, 1)), *modelSteps)
		wrong, story := runModel(t, seed+i, steps)
		if wrong == "" {
			continue
		}
		wrong, story = shrink(t, seed+i, steps, wrong, story)
		t.Fatalf("seed %d: %s\n%s", seed+i, wrong, story)
	}
}

// seedOfModel is the seed that the environment asks for, or 1.
func seedOfModel(t *testing.T) uint64 {
	t.Helper()
	switch value := os.Getenv(modelSeedVariable); value {
	case "":
		return 1
	case "random":
		return rand.Uint64()
	default:
		seed, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q, but must be a number or random", modelSeedVariable, value)
		}
		return seed
	}
}

// runModel does the steps of one sequence. It returns what went wrong, empty if nothing did, and the whole story.
func runModel(t *testing.T, seed uint64, steps []step) (wrong, story string) {
	w := newModelWorld(t, rand.New(rand.NewPCG(seed, 2)))
	defer w.close()
	done := false
	defer func() {
		if !done {
			t.Logf("seed %d:\n%s", seed, w)
		}
	}()
	for _, s := range steps {
		if w.do(s); w.wrong != "" {
			break
		}
	}
	for range 12 { // nobody is left to be notified
		if w.wrong == "" {
			w.do(step{name: "poll", n: 14})
		}
	}
	done = true
	return w.wrong, w.String()
}

// shrink drops steps for as long as something goes wrong without them. It returns the steps and the story of what is left.
func shrink(t *testing.T, seed uint64, steps []step, wrong, story string) (string, string) {
	for size := len(steps); size > 0; size /= 2 {
		for at := 0; at+size <= len(steps); {
			fewer := slices.Delete(slices.Clone(steps), at, at+size)
			if w, s := runModel(t, seed, fewer); w != "" {
				steps, wrong, story = fewer, w, s
			} else {
				at += size
			}
		}
	}
	return wrong, story
}
