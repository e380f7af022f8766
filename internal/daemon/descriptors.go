package daemon

// storeDescriptors is how many files store, journal, administration and DNS may
// want at a time: the database alone up to 1,000.
const storeDescriptors = 1500

// clientDescriptors returns how many of so many descriptors clients may have
// together: what is left when the store has its files, and every attempt a
// connection and a content; but at least half, since most processes need fewer
// files than they may. All other connections are closed at once: a store without
// descriptors could not commit, and an attempt without them not be made.
func clientDescriptors(all, attempts int) int {
	return max(all/2, all-storeDescriptors-2*attempts)
}
