package factors

import "github.com/kapi-id/kapi/internal/fault"

// ErrWrong is the answer to a wrong secret. The host chooses the sentence by stage, so that a wrong password and an
// unknown person read alike.
var ErrWrong = fault.New(fault.Denied, "answer.wrong")
