package queue

import (
	"encoding/json"
	"time"

	"postern/internal/mail"
)

// Stat is what a store takes on its disk, and what is in it.
type Stat struct {
	Directory string `json:"directory"`
	Format    int    `json:"format"`
	// Entries, Deliveries and Bodies count what is stored; Aside the entries
	// that were set aside as damaged.
	Entries    int `json:"entries"`
	Deliveries int `json:"deliveries"`
	Bodies     int `json:"bodies"`
	Aside      int `json:"aside"`
	// Oldest is the entry that was accepted first; empty when there is none.
	Oldest   mail.ID   `json:"oldest,omitempty"`
	Accepted time.Time `json:"accepted,omitzero"` // when that was
	// Database is what the database takes, in octets.
	Database uint64 `json:"database"`
	// Segments are the segments of the body log, in order of their numbers.
	Segments []Segment `json:"segments"`
	// Files counts the contents with a file of their own; FileSize is what
	// they take in octets.
	Files    int   `json:"files"`
	FileSize int64 `json:"file_size"`
	// Spare says that one file waits to become a segment again.
	Spare bool `json:"spare"`
	// Moved counts the contents that were moved out of sparse segments since
	// the store was opened; Memory is what the store takes of it, in octets.
	Moved uint64 `json:"moved"`
	// RowsRead counts the rows of entries that were read for listings and
	// edits since the store was opened.
	RowsRead uint64 `json:"rows_read"`
	Memory   int64  `json:"memory"`
}

// Segment is what a segment of the body log takes and holds.
type Segment struct {
	Number  uint64    `json:"number"`
	Size    int64     `json:"size"`   // octets on the disk
	Live    int64     `json:"live"`   // octets of contents that are needed
	Bodies  int       `json:"bodies"` // how many these are
	Created time.Time `json:"created"`
	Active  bool      `json:"active"` // being written
}

// Progress is how far something long has come, in octets.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Flaw is something in a store that is not as it was stored.
type Flaw struct {
	File   string  `json:"file,omitempty"`
	Offset int64   `json:"offset,omitempty"` // in File
	Entry  mail.ID `json:"entry,omitempty"`
	Body   mail.ID `json:"body,omitempty"`
	Cause  string  `json:"cause"`
}

// MaxFlaws is how many flaws are told one by one.
const MaxFlaws = 1000

// Flaws are what was found. Only the first MaxFlaws are kept.
type Flaws struct {
	List  []Flaw `json:"list"`
	Count int    `json:"count"` // of all
}

// MarshalJSON writes the list even when it is empty.
func (f Flaws) MarshalJSON() ([]byte, error) {
	type bare Flaws
	if f.List == nil {
		f.List = []Flaw{}
	}
	return json.Marshal(bare(f))
}

// Add adds a flaw.
func (f *Flaws) Add(flaw Flaw) {
	if f.Count++; f.Count <= MaxFlaws {
		f.List = append(f.List, flaw)
	}
}

// Verified is what a verification has read, and what it found.
type Verified struct {
	Files   int   `json:"files"` // of the database; those of contents when it is damaged
	Octets  int64 `json:"octets"`
	Entries int   `json:"entries"`
	Bodies  int   `json:"bodies"`
	Flaws   Flaws `json:"flaws"`
}

// Salvaged is what a salvage has made of a damaged store.
type Salvaged struct {
	// Found is what was damaged.
	Found Flaws `json:"found"`
	// Entries counts those that are in the store now. Of these Held were put
	// on hold, because what became of them before is not certain.
	Entries int `json:"entries"`
	Held    int `json:"held"`
	// Lost are the entries that could not be brought back. What is left of
	// them is set aside.
	Lost Flaws `json:"lost"`
	// Facts counts the facts that were lost on their way to the journal.
	Facts int `json:"facts"`
	// Old is where the damaged database lies now.
	Old string `json:"old"`
}
