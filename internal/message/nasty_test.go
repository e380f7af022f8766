package message

// mixed is a multipart/mixed of parts.
func mixed(parts string) string {
	return "Content-Type: multipart/mixed; boundary=b\n\n" + parts + "--b--\n"
}

// typed is a message with a Content-Type.
func typed(value string) string { return "Content-Type: " + value + "\n\ntext\n" }

// disposed is a message with a Content-Disposition.
func disposed(value string) string {
	return "Content-Type: application/x-a\nContent-Disposition: " + value + "\n\ntext\n"
}

var nastyTypes = []nasty{
	{name: "none", in: "To: x\n\ntext\n", types: "text/plain"},
	{name: "upper case", in: typed("TEXT/HTML; CHARSET=x"), types: "text/html"},
	{name: "no subtype", in: typed("text"), types: "text text/plain", defects: []Defect{DefectContentType, DefectTypes}},
	{name: "empty type", in: typed(""), types: " text/plain", defects: []Defect{DefectContentType, DefectTypes}},
	{name: "empty subtype", in: typed("text/"), types: "text/ text/plain", defects: []Defect{DefectContentType, DefectTypes}},
	{name: "two slashes", in: typed("text/plain/exe"), types: "text/plain/exe text/plain", defects: []Defect{DefectContentType, DefectTypes}},
	{name: "spaces around the slash", in: typed("text / html"), types: "text text/plain", defects: []Defect{DefectContentType, DefectTypes}},
	{name: "quoted type", in: typed(`"text/html"`), types: `"text/html" text/plain`, defects: []Defect{DefectContentType, DefectTypes}},
	{name: "encoded type", in: typed("=?utf-8?q?text/html?="), types: "=?utf-8?q?text/html?= text/plain", defects: []Defect{DefectContentType, DefectTypes}},
	{name: "comma", in: typed("text/plain, text/html"), types: "text/plain", defects: []Defect{DefectContentType}},
	{name: "no semicolon", in: typed("application/x-a name=a.exe"), types: "application/x-a", names: "a.exe", defects: []Defect{DefectContentType}},
	{name: "semicolons", in: typed("text/html;; charset=x;"), types: "text/html"},
	{name: "comment", in: typed("text/html (for people); charset=x"), types: "text/html"},
	{name: "comment in front", in: typed("(x) text/html"), types: "text/html (x) text/plain", defects: []Defect{DefectTypes}},
	{name: "comment within", in: typed("text/(x)html"), types: "text/ text/plain text/(x)html", defects: []Defect{DefectContentType, DefectTypes}},
	{name: "comment that is not closed", in: typed("text/html; (charset=x"), types: "text/html", defects: []Defect{DefectContentType}},
	{name: "comment with another type", in: typed("text/plain (;) ; name=a.exe"), types: "text/plain", names: "a.exe"},
	{name: "twice the same", in: "Content-Type: text/html\n" + typed("TEXT/html"), types: "text/html"},
	{name: "twice", in: "Content-Type: text/plain\n" + typed("application/x-b"), types: "text/plain application/x-b", defects: []Defect{DefectTypes}},
	{name: "folded in the type", in: typed("text/\n html"), types: "text/ text/plain text/html", defects: []Defect{DefectContentType, DefectTypes}},
	{name: "folded behind the type", in: typed("text/html;\n\tcharset=x"), types: "text/html"},
	{name: "parameter without value", in: typed("text/html; charset"), types: "text/html", defects: []Defect{DefectContentType}},
	{name: "parameter without name", in: typed("text/html; =x"), types: "text/html", defects: []Defect{DefectContentType}},
	{name: "space before the colon", in: "Content-Type : text/html\n\nx\n", types: "text/html", defects: []Defect{DefectFieldName}},
	{name: "NUL in the type", in: typed("text/ht\x00ml"), types: "text/ht\x00ml text/plain", defects: []Defect{DefectContentType, DefectTypes, DefectControl}},
	{name: "partial", in: typed("message/partial; id=x; number=1; total=2"), types: "message/partial", defects: []Defect{DefectElsewhere}},
	{name: "external body", in: typed("message/external-body; access-type=local-file; name=\"/bin/sh\""), types: "message/external-body", names: "/bin/sh|sh", defects: []Defect{DefectElsewhere}},
	{name: "digest", in: "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\ntext\n--b--\n", types: "multipart/digest message/rfc822 text/plain"},
	{name: "message in message in message", in: "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nContent-Type: application/x-a; name=a.exe\n\nx\n",
		types: "message/rfc822 application/x-a", names: "a.exe"},
	{name: "message in UTF-8", in: "Content-Type: message/global\n\nContent-Type: application/x-a; name=a.exe\n\nx\n",
		types: "message/global application/x-a", names: "a.exe"},
	{name: "encoded message", in: "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==\n", types: "message/rfc822", defects: []Defect{DefectComposite}},
	{name: "encoded multipart", in: "Content-Transfer-Encoding: quoted-printable\n" + mixed("--b\n\nx\n"), types: "multipart/mixed text/plain", defects: []Defect{DefectComposite}},
	{name: "signed in one piece", in: typed("application/pkcs7-mime; smime-type=signed-data; name=smime.p7m"), types: "application/pkcs7-mime", names: "smime.p7m", defects: []Defect{DefectOpaque}},
	{name: "encrypted", in: "Content-Type: multipart/encrypted; boundary=b\n\n--b\nContent-Type: application/pgp-encrypted\n\nx\n--b--\n", types: "multipart/encrypted application/pgp-encrypted", defects: []Defect{DefectOpaque}},
	{name: "TNEF", in: typed("application/ms-tnef; name=winmail.dat"), types: "application/ms-tnef", names: "winmail.dat"},
}

// Names stand in Content-Disposition (RFC 2183 2.3) and, of old, in Content-Type.
var nastyNames = []nasty{
	{name: "name", in: typed("application/x-a; name=a.exe"), types: "application/x-a", names: "a.exe"},
	{name: "file name", in: disposed("attachment; filename=a.exe"), types: "application/x-a", names: "a.exe"},
	{name: "both the same", in: "Content-Type: application/x-a; name=a.exe\nContent-Disposition: attachment; filename=\"a.exe\"\n\nx\n", types: "application/x-a", names: "a.exe"},
	{name: "both, different", in: "Content-Type: application/x-a; name=a.txt\nContent-Disposition: attachment; filename=a.exe\n\nx\n", types: "application/x-a", names: "a.txt|a.exe"},
	{name: "each in the other field", in: "Content-Type: application/x-a; filename=a.txt\nContent-Disposition: attachment; name=a.exe\n\nx\n", types: "application/x-a", names: "a.txt|a.exe"},
	{name: "two dispositions", in: "Content-Disposition: inline; filename=a.txt\n" + disposed("attachment; filename=a.exe"), types: "application/x-a", names: "a.txt|a.exe"},
	{name: "twice", in: disposed("attachment; filename=a.txt; filename=a.exe"), types: "application/x-a", names: "a.txt|a.exe"},
	{name: "spaces without quotes", in: disposed("attachment; filename=my file.exe"), types: "application/x-a", names: "my file.exe|my"},
	{name: "quotes", in: disposed(`attachment; filename="a;b (c).exe"`), types: "application/x-a", names: "a;b (c).exe"},
	{name: "single quotes", in: disposed(`attachment; filename='a.exe'`), types: "application/x-a", names: "'a.exe'|a.exe"},
	{name: "parentheses without quotes", in: disposed(`attachment; filename=a (1).exe`), types: "application/x-a", names: "a  .exe|a|a (1).exe"},
	{name: "open quote", in: disposed(`attachment; filename="a.exe`), types: "application/x-a", names: "a.exe", defects: []Defect{DefectDisposition}},
	{name: "open quote before another parameter", in: disposed(`attachment; filename="a.exe; size=1`), types: "application/x-a", names: "a.exe; size=1|a.exe", defects: []Defect{DefectDisposition}},
	{name: "text behind the quotes", in: disposed(`attachment; filename="a.txt".exe`), types: "application/x-a", names: "a.txt|a.txt.exe", defects: []Defect{DefectDisposition}},
	{name: "quote in the middle", in: disposed(`attachment; filename=a".exe"`), types: "application/x-a", names: `a".exe"|a".exe|a.exe`, defects: []Defect{DefectDisposition}},
	{name: "escapes", in: disposed(`attachment; filename="a\.e\xe"`), types: "application/x-a", names: `a.exe|a\.e\xe|xe`},
	{name: "escaped quote", in: disposed(`attachment; filename="a.exe\" .txt"`), types: "application/x-a", names: `a.exe" .txt|a.exe\" .txt|a.exe\|" .txt`},
	{name: "path", in: disposed(`attachment; filename="..\\..\\a.exe"`), types: "application/x-a", names: `..\..\a.exe|..\\..\\a.exe|a.exe`},
	{name: "slashes", in: disposed(`attachment; filename="/etc/../a.exe"`), types: "application/x-a", names: "/etc/../a.exe|a.exe"},
	{name: "dots and spaces at the end", in: disposed(`attachment; filename="a.exe. . "`), types: "application/x-a", names: "a.exe. . |a.exe. .|a.exe"},
	{name: "NUL", in: disposed("attachment; filename=\"a.exe\x00.txt\""), types: "application/x-a", names: "a.exe\x00.txt|a.exe.txt|a.exe", defects: []Defect{DefectControl}},
	{name: "encoded NUL", in: disposed("attachment; filename*=us-ascii''a.exe%00.txt"), types: "application/x-a", names: "a.exe\x00.txt|a.exe.txt|a.exe"},
	{name: "stream", in: disposed("attachment; filename=\"a.exe:x.txt\""), types: "application/x-a", names: "a.exe:x.txt|a.exe"},
	{name: "right to left", in: disposed("attachment; filename=\"a\u202etxt.exe\""), types: "application/x-a", names: "a\u202etxt.exe|atxt.exe"},
	{name: "zero width", in: disposed("attachment; filename=\"a.e\u200bxe\""), types: "application/x-a", names: "a.e\u200bxe|a.exe"},
	{name: "folded in quotes", in: disposed("attachment; filename=\"a.e\n xe\""), types: "application/x-a", names: "a.e xe|a.exe"},
	{name: "word", in: disposed("attachment; filename=\"=?utf-8?q?a=2Eexe?=\""), types: "application/x-a", names: "a.exe"},
	{name: "word without quotes", in: disposed("attachment; filename==?utf-8?q?a=2Eexe?="), types: "application/x-a", names: "a.exe"},
	{name: "words, folded", in: disposed("attachment; filename=\"=?utf-8?b?YS4=?=\n =?utf-8?b?ZXhl?=\""), types: "application/x-a", names: "a.exe"},
	{name: "word and text", in: disposed("attachment; filename=\"=?utf-8?q?a?=.exe\""), types: "application/x-a", names: "a.exe"},
	{name: "word of an unknown charset", in: disposed("attachment; filename=\"=?x-1?q?a.exe?=\""), types: "application/x-a", names: "a.exe", defects: []Defect{DefectName}},
	{name: "word of UTF-16", in: disposed("attachment; filename=\"=?utf-16le?b?YQAuAGUAeABlAA==?=\""), types: "application/x-a", names: "a.exe"},
	{name: "8-bit", in: disposed("attachment; filename=\"\xc3\xa4.exe\""), types: "application/x-a", names: "ä.exe"},
	{name: "Latin-1", in: disposed("attachment; filename=\"\xe4.exe\""), types: "application/x-a", names: "ä.exe", defects: []Defect{DefectName}},
	{name: "encoded disposition", in: disposed("=?utf-8?q?attachment;_filename=3Da.exe?="), types: "application/x-a", defects: []Defect{DefectDisposition}},
	{name: "disposition alone", in: disposed("attachment"), types: "application/x-a"},
	{name: "no disposition", in: disposed("filename=a.exe"), types: "application/x-a", defects: []Defect{DefectDisposition}},
	{name: "location", in: "Content-Location: http://x.example/y/a.exe\n" + typed("application/x-a"), types: "application/x-a", names: "a.exe"},
	{name: "of a multipart", in: "Content-Disposition: attachment; filename=a.exe\n" + mixed("--b\n\nx\n"), types: "multipart/mixed text/plain", names: "a.exe"},
	{name: "of a message", in: "Content-Disposition: attachment; filename=a.eml\nContent-Type: message/rfc822\n\nContent-Type: application/x-a; name=a.exe\n\n", types: "message/rfc822 application/x-a", names: "a.eml|a.exe"},
}

// RFC 2231 3 and 4.
var nastyContinuations = []nasty{
	{name: "encoded", in: disposed("attachment; filename*=utf-8''%61.exe"), types: "application/x-a", names: "a.exe"},
	{name: "language", in: disposed("attachment; filename*=utf-8'en'a%2eexe"), types: "application/x-a", names: "a.exe"},
	{name: "Latin-1", in: disposed("attachment; filename*=iso-8859-1''%e4.exe"), types: "application/x-a", names: "ä.exe"},
	{name: "quoted", in: disposed("attachment; filename*=\"utf-8''a%2eexe\""), types: "application/x-a", names: "a.exe"},
	{name: "plain and encoded", in: disposed("attachment; filename=a.txt; filename*=utf-8''a.exe"), types: "application/x-a", names: "a.txt|a.exe"},
	{name: "unknown charset", in: disposed("attachment; filename*=x-1''a.exe"), types: "application/x-a", names: "a.exe", defects: []Defect{DefectName}},
	{name: "no charset", in: disposed("attachment; filename*=a%2Eexe"), types: "application/x-a", names: "a.exe", defects: []Defect{DefectName}},
	{name: "bad percent", in: disposed("attachment; filename*=utf-8''a%2.exe"), types: "application/x-a", names: "a%2.exe", defects: []Defect{DefectName}},
	{name: "octets that do not fit", in: disposed("attachment; filename*=utf-8''%ff.exe"), types: "application/x-a", names: "\ufffd.exe", defects: []Defect{DefectName}},
	{name: "continued", in: disposed("attachment; filename*0=a.; filename*1=exe"), types: "application/x-a", names: "a.exe"},
	{name: "continued and encoded", in: disposed("attachment; filename*0*=utf-8''%61; filename*1=.; filename*2*=e%78e"), types: "application/x-a", names: "a.exe"},
	{name: "percent in a piece that is not encoded", in: disposed("attachment; filename*0*=utf-8''a; filename*1=%2Eexe"), types: "application/x-a", names: "a%2Eexe|a.exe"},
	{name: "charset without star", in: disposed("attachment; filename*0=\"utf-8''a%2Eexe\""), types: "application/x-a", names: "utf-8''a%2Eexe|a.exe"},
	{name: "out of order", in: disposed("attachment; filename*1=exe; filename*0=a."), types: "application/x-a", names: "exea.|exea|a.exe", defects: []Defect{DefectName}},
	{name: "gap", in: disposed("attachment; filename*0=a.; filename*2=exe"), types: "application/x-a", names: "a.exe", defects: []Defect{DefectName}},
	{name: "no begin", in: disposed("attachment; filename*1=a.exe"), types: "application/x-a", names: "a.exe", defects: []Defect{DefectName}},
	{name: "twice", in: disposed("attachment; filename*0=a.; filename*1=txt; filename*1=exe"), types: "application/x-a", names: "a.txtexe|a.txt|a.exe", defects: []Defect{DefectName}},
	{name: "leading zero", in: disposed("attachment; filename*0=a.; filename*01=exe"), types: "application/x-a", names: "a.exe", defects: []Defect{DefectName}},
	{name: "no number", in: disposed("attachment; filename*x=a.exe"), types: "application/x-a", names: "a.exe", defects: []Defect{DefectName}},
	{name: "words in pieces", in: disposed("attachment; filename*0=\"=?utf-8?q?a=2E\"; filename*1=\"exe?=\""), types: "application/x-a", names: "a.exe"},
	{name: "word within", in: disposed("attachment; filename*=utf-8''%3D?utf-8?q?a=2Eexe?%3D"), types: "application/x-a", names: "=?utf-8?q?a=2Eexe?=|a.exe"},
	{name: "boundary", in: "Content-Type: multipart/mixed; boundary*=us-ascii''b\n\n--b\nContent-Type: application/x-a; name=a.exe\n\nx\n--b--\n",
		types: "multipart/mixed application/x-a", names: "a.exe", defects: []Defect{DefectBoundaries}},
	{name: "boundary in pieces", in: "Content-Type: multipart/mixed; boundary*0=b; boundary*1=c\n\n--bc\nContent-Type: application/x-a; name=a.exe\n\nx\n--bc--\n",
		types: "multipart/mixed application/x-a", names: "a.exe", defects: []Defect{DefectBoundaries}},
}
