package pegasus

import "sync"

// hosts are the addresses behind host names that the cluster told of; such a name may mean nothing here.
type hosts struct {
	mu   sync.Mutex
	real map[string]string
}

// maxNames bounds what is remembered of names: more servers than any cluster has.
const maxNames = 1 << 16

func (h *hosts) remember(name, address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.real[name]; !known && len(h.real) >= maxNames {
		return
	}
	if h.real == nil {
		h.real = map[string]string{}
	}
	h.real[name] = address
}

// address is what to dial for an endpoint.
func (h *hosts) address(endpoint string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.real[endpoint]; ok {
		return known
	}
	return endpoint
}
