package assets

// texts has the texts of the pages, by language. {issuer} stands for the name of the OP, {client}
// for that of the app, {host} for the host of a URL, {at} for the text of that name, {state} for
// one of stillIn, alreadyOut and unchanged.
var texts = map[string]text{
	"en": {
		question: "Sign out?",
		asked:    "Do you want to sign out of {issuer}?",
		askedBy:  "{client} asks to sign you out of {issuer}. Do you want to sign out?",
		signOut:  "Sign out", stay: "Stay signed in", again: "Try again to sign out",
		signedOut:      "You are signed out",
		signedOutMore:  "You are no longer signed in to {issuer}. On a computer that others use, too, close the browser now.",
		signedIn:       "You are still signed in",
		signedInMore:   "Nothing was changed. You can close this page.",
		ended:          "Your session has ended. Continue to sign in again.",
		notified:       "You were signed out of these apps:",
		askedInFrames:  "These apps were asked to sign you out. Whether they did is not known:",
		retrying:       "These apps could not be reached yet. They will be told of it as soon as they can be:",
		failed:         "These apps could not be signed out of:",
		notNotifiable:  "These apps cannot be told. Sign out there yourself, or close the browser:",
		notYet:         "Your apps could not be told of it yet. Sign out there yourself, or close the browser.",
		more:           "and {n} more",
		signingOut:     "Signing you out of your apps…",
		signingOutMore: "This takes a moment.", signedOutAtOP: "You are no longer signed in to {issuer}.",
		goOn: "Continue", frameTitle: "Signing out of an app",
		notSent: "You were not sent on: the app asked for an address{at} that is not registered for it.",
		at:      " at {host}",
		stillIn: "You were not signed out.", alreadyOut: "You are not signed in to {issuer}.", unchanged: "Nothing was changed.",
		backTo: "Back to {client}", progress: "{n} of {total} done",
		problems: map[Problem]problemText{
			ProblemInvalidRequest:  {"This sign-out request is not valid", "The app or link that brought you here sent a request that {issuer} cannot follow. {state}"},
			ProblemUnknownRedirect: {"This app may not send you there", "The app asked for you to be sent to an address{at} that is not registered for it. {state}"},
			ProblemTooLarge:        {"This sign-out request is too large", "The app or link that brought you here sent more than {issuer} takes. {state}"},
			ProblemExpired:         {"Please answer again", "Your answer came too late, or from another window. {state}"},
			ProblemOPFailed:        {"You may still be signed in", "{issuer} has not confirmed that you are signed out. Please try again. If that does not help, close the browser and tell those who run {issuer}."},
		},
	},
	"de": {
		question: "Abmelden?",
		asked:    "Möchten Sie sich von {issuer} abmelden?",
		askedBy:  "{client} bittet darum, Sie von {issuer} abzumelden. Möchten Sie sich abmelden?",
		signOut:  "Abmelden", stay: "Angemeldet bleiben", again: "Abmelden erneut versuchen",
		signedOut:      "Sie sind abgemeldet",
		signedOutMore:  "Sie sind nicht mehr bei {issuer} angemeldet. Wenn auch andere diesen Computer benutzen, schließen Sie jetzt den Browser.",
		signedIn:       "Sie sind weiterhin angemeldet",
		signedInMore:   "Es wurde nichts geändert. Sie können diese Seite schließen.",
		ended:          "Ihre Sitzung ist beendet. Fahren Sie fort, um sich erneut anzumelden.",
		notified:       "Von diesen Apps wurden Sie abgemeldet:",
		askedInFrames:  "Diese Apps wurden gebeten, Sie abzumelden. Ob sie es getan haben, ist nicht bekannt:",
		retrying:       "Diese Apps waren noch nicht erreichbar. Sie erfahren davon, sobald sie es sind:",
		failed:         "Von diesen Apps konnten Sie nicht abgemeldet werden:",
		notNotifiable:  "Diesen Apps kann es nicht mitgeteilt werden. Melden Sie sich dort selbst ab, oder schließen Sie den Browser:",
		notYet:         "Ihren Apps konnte es noch nicht mitgeteilt werden. Melden Sie sich dort selbst ab, oder schließen Sie den Browser.",
		more:           "und {n} weitere",
		signingOut:     "Sie werden von Ihren Apps abgemeldet…",
		signingOutMore: "Das dauert einen Moment.", signedOutAtOP: "Bei {issuer} sind Sie nicht mehr angemeldet.",
		goOn: "Weiter", frameTitle: "Abmeldung von einer App",
		notSent: "Sie wurden nicht weitergeleitet: Die App hat dafür eine Adresse{at} angegeben, die nicht für sie registriert ist.",
		at:      " bei {host}",
		stillIn: "Sie wurden nicht abgemeldet.", alreadyOut: "Sie sind bei {issuer} nicht angemeldet.", unchanged: "Es wurde nichts geändert.",
		backTo: "Zurück zu {client}", progress: "{n} von {total} erledigt",
		problems: map[Problem]problemText{
			ProblemInvalidRequest:  {"Diese Abmelde-Anfrage ist ungültig", "Die App oder der Link hat eine Anfrage geschickt, der {issuer} nicht folgen kann. {state}"},
			ProblemUnknownRedirect: {"Diese App darf Sie nicht dorthin leiten", "Die App möchte Sie an eine Adresse{at} leiten, die nicht für sie registriert ist. {state}"},
			ProblemTooLarge:        {"Diese Abmelde-Anfrage ist zu groß", "Die App oder der Link hat mehr geschickt, als {issuer} annimmt. {state}"},
			ProblemExpired:         {"Bitte antworten Sie noch einmal", "Ihre Antwort kam zu spät oder aus einem anderen Fenster. {state}"},
			ProblemOPFailed:        {"Sie sind möglicherweise noch angemeldet", "{issuer} hat nicht bestätigt, dass Sie abgemeldet sind. Bitte versuchen Sie es noch einmal. Hilft das nicht, schließen Sie den Browser und wenden Sie sich an die Betreiber von {issuer}."},
		},
	},
	"es": {
		question: "¿Cerrar la sesión?",
		asked:    "¿Desea cerrar su sesión en {issuer}?",
		askedBy:  "{client} solicita cerrar su sesión en {issuer}. ¿Desea cerrarla?",
		signOut:  "Cerrar la sesión", stay: "Mantener la sesión", again: "Intentar de nuevo cerrar la sesión",
		signedOut:      "Ha cerrado la sesión",
		signedOutMore:  "Su sesión en {issuer} está cerrada. Si otras personas usan este equipo, cierre ahora el navegador.",
		signedIn:       "Su sesión sigue abierta",
		signedInMore:   "No se ha cambiado nada. Puede cerrar esta página.",
		ended:          "Su sesión ha finalizado. Continúe para volver a iniciar sesión.",
		notified:       "Se ha cerrado su sesión en estas aplicaciones:",
		askedInFrames:  "Se ha pedido a estas aplicaciones que cierren su sesión. No se sabe si lo han hecho:",
		retrying:       "Todavía no se ha podido contactar con estas aplicaciones. Se les avisará en cuanto sea posible:",
		failed:         "No se ha podido cerrar su sesión en estas aplicaciones:",
		notNotifiable:  "No es posible avisar a estas aplicaciones. Cierre la sesión en ellas usted mismo o cierre el navegador:",
		notYet:         "Todavía no se ha podido avisar a sus aplicaciones. Cierre la sesión en ellas usted mismo o cierre el navegador.",
		more:           "y {n} más",
		signingOut:     "Cerrando su sesión en sus aplicaciones…",
		signingOutMore: "Tardará unos segundos.", signedOutAtOP: "Su sesión en {issuer} ya está cerrada.",
		goOn: "Continuar", frameTitle: "Cierre de sesión en una aplicación",
		notSent: "No se le ha redirigido: la aplicación ha indicado una dirección{at} que no está registrada para ella.",
		at:      " en {host}",
		stillIn: "No se ha cerrado su sesión.", alreadyOut: "No tiene ninguna sesión abierta en {issuer}.", unchanged: "No se ha cambiado nada.",
		backTo: "Volver a {client}", progress: "{n} de {total} completadas",
		problems: map[Problem]problemText{
			ProblemInvalidRequest:  {"Esta solicitud de cierre de sesión no es válida", "La aplicación o el enlace ha enviado una solicitud que {issuer} no puede atender. {state}"},
			ProblemUnknownRedirect: {"Esta aplicación no puede enviarle allí", "La aplicación quiere enviarle a una dirección{at} que no está registrada para ella. {state}"},
			ProblemTooLarge:        {"Esta solicitud de cierre de sesión es demasiado grande", "La aplicación o el enlace ha enviado más de lo que {issuer} acepta. {state}"},
			ProblemExpired:         {"Responda de nuevo, por favor", "Su respuesta llegó demasiado tarde o desde otra ventana. {state}"},
			ProblemOPFailed:        {"Es posible que su sesión siga abierta", "{issuer} no ha confirmado que su sesión esté cerrada. Inténtelo de nuevo. Si no funciona, cierre el navegador y avise a los responsables de {issuer}."},
		},
	},
	"fr": {
		question: "Se déconnecter ?",
		asked:    "Voulez-vous vous déconnecter de {issuer} ?",
		askedBy:  "{client} demande à vous déconnecter de {issuer}. Voulez-vous vous déconnecter ?",
		signOut:  "Se déconnecter", stay: "Rester connecté", again: "Réessayer de se déconnecter",
		signedOut:      "Vous êtes déconnecté",
		signedOutMore:  "Vous n’êtes plus connecté à {issuer}. Si d’autres personnes utilisent cet ordinateur, fermez maintenant le navigateur.",
		signedIn:       "Vous êtes toujours connecté",
		signedInMore:   "Rien n’a été modifié. Vous pouvez fermer cette page.",
		ended:          "Votre session a pris fin. Continuez pour vous reconnecter.",
		notified:       "Vous avez été déconnecté de ces applications :",
		askedInFrames:  "Il a été demandé à ces applications de vous déconnecter. Impossible de savoir si elles l’ont fait :",
		retrying:       "Ces applications n’ont pas encore pu être jointes. Elles seront averties dès que possible :",
		failed:         "Ces applications n’ont pas pu vous déconnecter :",
		notNotifiable:  "Ces applications ne peuvent pas être averties. Déconnectez-vous-y vous-même, ou fermez le navigateur :",
		notYet:         "Vos applications n’ont pas encore pu être averties. Déconnectez-vous-y vous-même, ou fermez le navigateur.",
		more:           "et {n} de plus",
		signingOut:     "Déconnexion de vos applications…",
		signingOutMore: "Cela prend un instant.", signedOutAtOP: "Vous n’êtes plus connecté à {issuer}.",
		goOn: "Continuer", frameTitle: "Déconnexion d’une application",
		notSent: "Vous n’avez pas été redirigé : l’application a indiqué une adresse{at} qui n’est pas enregistrée pour elle.",
		at:      " sur {host}",
		stillIn: "Vous n’avez pas été déconnecté.", alreadyOut: "Vous n’êtes pas connecté à {issuer}.", unchanged: "Rien n’a été modifié.",
		backTo: "Retour à {client}", progress: "{n} sur {total} terminées",
		problems: map[Problem]problemText{
			ProblemInvalidRequest:  {"Cette demande de déconnexion n’est pas valide", "L’application ou le lien a envoyé une demande que {issuer} ne peut pas suivre. {state}"},
			ProblemUnknownRedirect: {"Cette application ne peut pas vous y envoyer", "L’application veut vous envoyer à une adresse{at} qui n’est pas enregistrée pour elle. {state}"},
			ProblemTooLarge:        {"Cette demande de déconnexion est trop volumineuse", "L’application ou le lien a envoyé plus que {issuer} n’accepte. {state}"},
			ProblemExpired:         {"Veuillez répondre à nouveau", "Votre réponse est arrivée trop tard ou d’une autre fenêtre. {state}"},
			ProblemOPFailed:        {"Vous êtes peut-être encore connecté", "{issuer} n’a pas confirmé votre déconnexion. Veuillez réessayer. Si cela n’aide pas, fermez le navigateur et prévenez les responsables de {issuer}."},
		},
	},
}

// text has the texts of one language.
type text struct {
	question, asked, askedBy                  string // askedBy: by an app that is known
	signOut, stay, again                      string
	signedOut, signedOutMore                  string
	signedIn, signedInMore, ended             string
	notified, askedInFrames, retrying         string
	failed, notNotifiable, more, notYet       string
	signingOut, signingOutMore, signedOutAtOP string
	goOn, frameTitle, progress, backTo        string
	notSent, at                               string
	stillIn, alreadyOut, unchanged            string
	problems                                  map[Problem]problemText
}

type problemText struct{ heading, message string }
