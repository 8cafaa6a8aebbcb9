// Package wire is the Pegasus client protocol ("THFT"): frames, the thrift strict binary encoding with Pegasus's
// placeholder types, and a table of remote calls. Both ends use it, the driver and the sandbox server. What C++ clients
// write around the same arguments and results ("RDSN") is in rdsn.go; only the server reads it.
//
//	request  = header (48 bytes in version 0) + message
//	message  = 80 01 00 TT, name, seqid, field {type, id, args}, STOP
//	response = total length, error name, message begin, field {type, 0, result}, STOP
//
// A remote call is one RPC value: its name, and the Types of its arguments and of its result. A Type is a table of
// fields with the functions that read and write them; nothing is looked up by reflection. To add a call, declare its
// structs with their tables beside the others, and one RPC line in the list of its family.
//
// Placeholders. The IDL declares blob, error_code, task_code, gpid, rpc_address and host_port as empty structs, so they
// are announced as a struct (0x0c) while their payload is raw. A field that no table knows can therefore be skipped
// only when its announced type is unambiguous; an unknown struct is an error that names it.
//
// Memory. Decoded blobs ([]byte) alias the bytes they were decoded from and keep them alive: one frame is one
// allocation, whatever its rows. Everything else that decoding allocates (strings, lists, maps) is charged to a budget
// of MaxFrame bytes per message, and a list is believed only if the bytes left could hold it.
package wire
