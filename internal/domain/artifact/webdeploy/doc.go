// Package webdeploy makes, reads and applies Web Deploy packages without
// Windows: zip archives with archive.xml, parameters.xml, systemInfo.xml and the
// files below Content.
//
// Pack writes the same bytes for the same input: entries are sorted, carry no
// time and no host data, and the source path in the manifest is a constant.
// The zip is plain (no extra fields, made by "FAT") because other tools refuse
// more, so it cannot hold permissions; the root file penstock.files.json, which
// msdeploy ignores, lists every file with its hash and says which are
// executable. Packages made on Unix by other tools may say so in their zip
// attributes, which Open reads too.
//
// Apply stages the new content beside the target and exchanges the folders, so
// that a failed apply leaves the old content as it was. Parameters are
// substituted in the staged files; XML is edited in place, byte for byte outside
// of what is replaced. Providers that need IIS or a database are refused by name.
package webdeploy
