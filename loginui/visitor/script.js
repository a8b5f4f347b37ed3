// A form that only passes an answer on sends itself; without a script its button does the same.
document.querySelector("form[data-send]")?.requestSubmit();
