// Package doctor looks at what surrounds the server: its names in DNS, the
// next servers, its files and disks. It says what is wrong or unwise there,
// and what would be right, of the setting that names it.
//
// It changes nothing and makes nothing. That something could not be found out
// is a problem too; no function here fails.
package doctor
