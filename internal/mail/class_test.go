package mail

import "testing"

func TestClass(t *testing.T) {
	for _, c := range Classes {
		if back, err := ParseClass(c.String()); back != c || err != nil {
			t.Errorf("%s is read as %s, %v", c, back, err)
		}
	}
	if c, err := ParseClass("BULK"); c != Bulk || err != nil {
		t.Errorf("in capitals: %s, %v", c, err)
	}
	if c, err := ParseClass("low"); c != Normal || err == nil || err.Error() != `"low" is not a priority class; these are bulk, normal, urgent` {
		t.Errorf("%s, %v", c, err)
	}
	if got := Class(7).String() + Class(-2).String(); got != "7-2" {
		t.Errorf("without names: %s", got)
	}
}

// TestClassOfHeader: the fields of RFC 2156 and RFC 2076 in their order, and of each the first word that is known.
func TestClassOfHeader(t *testing.T) {
	for _, c := range []struct {
		header map[string]string
		want   string
	}{
		{nil, "none"},
		{map[string]string{"Priority": "urgent"}, "urgent"},
		{map[string]string{"Priority": " Non-Urgent "}, "bulk"},
		{map[string]string{"Priority": "normal", "Precedence": "bulk"}, "normal"},
		{map[string]string{"Priority": "soon", "Precedence": "list"}, "bulk"},
		{map[string]string{"Precedence": "special-delivery"}, "urgent"},
		{map[string]string{"Precedence": "first-class", "X-Priority": "1"}, "normal"},
		{map[string]string{"X-Priority": "1 (Highest)"}, "urgent"},
		{map[string]string{"X-Priority": "2(High)"}, "urgent"},
		{map[string]string{"X-Priority": "3\r\n (Normal)"}, "normal"},
		{map[string]string{"X-Priority": "5", "Importance": "high"}, "bulk"},
		{map[string]string{"X-Priority": "0", "Importance": "high"}, "urgent"},
		{map[string]string{"Importance": "low"}, "bulk"},
		{map[string]string{"Importance": "very high"}, "none"},
		{map[string]string{"X-MSMail-Priority": "High"}, "none"},
	} {
		got := "none"
		if class, told := ClassOfHeader(func(name string) string { return c.header[name] }); told {
			got = class.String()
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.header, got, c.want)
		}
	}
}
