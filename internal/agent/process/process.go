// Package process starts, finds and ends the programs of jobs with everything
// that they have started.
package process

// Marker is the variable by which the processes of a job are found when it ends.
const Marker = "VSTS_PROCESS_LOOKUP_ID"
