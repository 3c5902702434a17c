// Package sim runs the whole broker, without its network, on a crashable in-memory
// filesystem: the cases of producer state in five ways, and the loop that fails or
// crashes every durable step at its k-th disk operation. It owns the reference model
// against which they are judged, and no product code. Nothing may import it.
package sim
