package dkim

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkSign is what signatures cost, by key and by size of the message; also in time of the
// processor alone, which counts where others are at work.
func BenchmarkSign(b *testing.B) {
	keys := testKeys()
	for _, size := range []int{4 << 10, 1 << 20} {
		content := "From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\nDate: Fri, 1 Jan 2027 00:00:00 +0000\r\n\r\n" +
			strings.Repeat("0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\r\n", size/67)
		for name, by := range map[string][]Key{"rsa": keys[:1], "ed25519": keys[1:], "both": keys} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, name), func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				b.ReportAllocs()
				before := processor(b)
				for b.Loop() {
					if _, err := (Options{}).Sign(strings.NewReader(content), now, by...); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// processor is the time that the process has had of the processors.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
