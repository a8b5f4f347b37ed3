// Package web owns what every request passes through whatever it asks for: its id, its log line, its time and size
// limits, the address it came from, the certificate it shows, and the cookies of this installation. Enter with Chain
// around the routes, NewServer for the limits of the connection, and Run for a start and a stop that lose no request. It
// refuses to believe a forwarded address or certificate that does not come from a proxy it was told to trust, to log a
// query or a body, and to let one request's panic end another.
package web
