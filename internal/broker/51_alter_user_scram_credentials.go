package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// AlterUserScramCredentials, version 0 (KIP-554).
//
// Nobody is authenticated yet, so a credential would protect nothing: making one is refused with
// UNSUPPORTED_VERSION, as Kafka does where SCRAM is not supported, and with words that say why.
// What is no credential, and deleting one that does not exist, is refused as
// ScramControlManager.alterCredentials does.

const (
	scramSHA256, scramSHA512 = 1, 2
	scramIterationsMin       = 4096
	scramIterationsMax       = 16384
)

func (b *Broker) handleAlterUserScramCredentials(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.AlterUserSCRAMCredentialsRequest)
	resp := req.ResponseKind().(*kmsg.AlterUserSCRAMCredentialsResponse)
	answered := map[string]bool{}
	refuse := func(user string, code int16, why string) {
		if answered[user] {
			return
		}
		answered[user] = true
		x := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		x.User, x.ErrorCode, x.ErrorMessage = user, code, &why
		resp.Results = append(resp.Results, x)
	}
	for i := range req.Deletions {
		d := &req.Deletions[i]
		code, why := scramRefusal(d.Name, d.Mechanism)
		if code == codeNone {
			code, why = codeResourceNotFound, "Attempt to delete a user credential that does not exist"
		}
		refuse(d.Name, code, why)
	}
	for i := range req.Upsertions {
		u := &req.Upsertions[i]
		code, why := scramRefusal(u.Name, u.Mechanism)
		switch {
		case code != codeNone:
		case u.Iterations < scramIterationsMin:
			code, why = codeUnacceptableCredential, "Too few iterations"
		case u.Iterations > scramIterationsMax:
			code, why = codeUnacceptableCredential, "Too many iterations"
		default:
			code, why = codeUnsupportedVersion, "This broker does not support SCRAM yet."
		}
		refuse(u.Name, code, why)
	}
	return wire.Ready(resp)
}

func scramRefusal(user string, mechanism int8) (code int16, why string) {
	switch {
	case user == "":
		return codeUnacceptableCredential, "Username must not be empty"
	case mechanism != scramSHA256 && mechanism != scramSHA512:
		return codeUnsupportedSASLMechanism, "Unknown SCRAM mechanism"
	}
	return codeNone, ""
}
