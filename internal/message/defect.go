package message

// Defect is why a message cannot be read with certainty: what is wrong with it,
// in words. Readers of mail may then see something else than Inspect reports.
type Defect string

// The defects. Those of a bound say that there may be more than was looked at.
const (
	DefectSize       Defect = "more octets than are looked at"
	DefectDepth      Defect = "parts nested too deeply"
	DefectParts      Defect = "too many parts"
	DefectHeader     Defect = "a header too large"
	DefectParameters Defect = "too many parameters in a field"
	DefectNames      Defect = "too many names of attachments"

	DefectLineEnd     Defect = "a CR or LF that stands alone"
	DefectSeparator   Defect = "no empty line between header and body"
	DefectFieldName   Defect = "white space before the colon of a field, up to those that say what the body is"
	DefectFolding     Defect = "a line of white space in a header, before a field that says what the body is"
	DefectControl     Defect = "a control character in a field that says what the body is"
	DefectMailboxLine Defect = "the line of a mailbox file before a header"
	DefectContentType Defect = "a malformed Content-Type"
	DefectTypes       Defect = "Content-Type can be read as different types"
	DefectDisposition Defect = "a malformed Content-Disposition"
	DefectName        Defect = "a name of an attachment that can be read in different ways, or not at all"
	DefectEncoding    Defect = "a Content-Transfer-Encoding that is unknown, malformed or given twice"
	DefectComposite   Defect = "a multipart or message that is encoded"
	DefectEncoded     Defect = "content that is not encoded as it says"
	DefectBoundary    Defect = "no boundary, or a malformed one"
	DefectBoundaries  Defect = "a boundary that can be read in different ways"
	DefectAlike       Defect = "a boundary that is that of a multipart around it, or begins with it"
	DefectNear        Defect = "a line that may be taken for a boundary"
	DefectNoDelimiter Defect = "a multipart without parts"
	DefectEpilogue    Defect = "a part behind the end of its multipart"
	DefectHeaderEnd   Defect = "a boundary within a header"
	DefectElsewhere   Defect = "content of which a part, or all, is elsewhere"
	DefectOpaque      Defect = "content that is encrypted, or signed in a form that hides it"
	DefectSubject     Defect = "a Subject that can be read in different ways"
	DefectAddress     Defect = "addresses of From or Sender that can be read in different ways"
	DefectDuplicate   Defect = "a field of the header twice that may be there once"
)

// Defects are all defects, in the order of docs/mime.md.
var Defects = []Defect{
	DefectSize, DefectDepth, DefectParts, DefectHeader, DefectParameters, DefectNames,
	DefectLineEnd, DefectSeparator, DefectFieldName, DefectFolding, DefectControl, DefectMailboxLine,
	DefectContentType, DefectTypes, DefectDisposition, DefectName, DefectEncoding, DefectComposite,
	DefectEncoded, DefectBoundary, DefectBoundaries, DefectAlike, DefectNear, DefectNoDelimiter,
	DefectEpilogue, DefectHeaderEnd, DefectElsewhere, DefectOpaque, DefectSubject, DefectAddress,
	DefectDuplicate,
}
