// Package identity knows who somebody is and what they may do: users, groups,
// roles, credentials, and Can, the one authorization decision.
package identity
