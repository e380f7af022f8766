package peers

import (
	"testing"
)

type observed struct{ cells map[string]string }

func (o *observed) add(cell string, key ...string) {}
func (o *observed) page(t *testing.T)              {}
func (e *entrance) refusals(t *testing.T, saw *observed) {}
