// Package recovery owns the pages on which somebody gets a new password for a forgotten one (/recover), and those on which a change
// is undone by the link or the code that came to an old channel (/undo). Enter with New and Handler.Mount; Source and Words are for
// page.New. Each handler does one thing through recovery.Flow or enrolment.Holds and then redirects to what is owed. It refuses to act
// on a GET, which mail programs send by themselves, and to say anything of a person before a code was right.
//
//	GET  /recover                     what has happened? POST begins (reason)
//	GET  /recover/other               the other ways to a password
//	GET  /recover/{id}                to what is owed now
//	GET  /recover/{id}/identity       POST kind, national_id
//	GET  /recover/{id}/details        POST birthdate, family_name, document, serial
//	GET  /recover/{id}/contact        POST phone, email
//	GET  /recover/{id}/code           POST code, that came to the phone
//	GET  /recover/{id}/mail           POST code, that came by e-mail
//	GET  /recover/{id}/password       POST new_password
//	GET  /recover/{id}/done           and /over
//	POST /recover/{id}/again          send the code again
//	POST /recover/{id}/change         back to the ID number
//	POST /recover/{id}/language       switch (lang)
//	GET  /undo?link=…                 what would be undone; POST undoes it (link)
//	GET  /undo                        for the code of an SMS; POST undoes it (national_id, code)
package recovery
