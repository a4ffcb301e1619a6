package guard

// CertificateName is for tests.
var CertificateName = certificateName
