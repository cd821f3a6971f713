// The kinds of seats: word, letter and shape, in a square of 44 units. Also read by Python (seats.py), so
// what follows the first words is JSON.
export default [
  {"kind": "critical", "word": "Critical", "letter": "C", "shape": "M14 2H30L42 14V30L30 42H14L2 30V14Z"},
  {"kind": "warning", "word": "Warning", "letter": "W", "drop": 6, "shape": "M19.4 4.6Q22 0.6 24.6 4.6L42.4 37Q44 42 39 42H5Q0 42 1.6 37Z"},
  {"kind": "down", "word": "Down", "letter": "D", "shape": "M9 2H35L42 9V35L35 42H9L2 35V9Z", "mark": "M2 9L9 2M35 2L42 9M42 35L35 42M9 42L2 35M5.5 5.5L14 14M38.5 5.5L30 14M38.5 38.5L30 30M5.5 38.5L14 30"},
  {"kind": "maintenance", "word": "In maintenance", "letter": "M", "shape": "M12 3H32L43 22L32 41H12L1 22Z"},
  {"kind": "off", "word": "Off by timetable", "letter": "O", "shape": "M22 2A20 20 0 1 1 21.99 2Z"},
  {"kind": "busy", "word": "Busy", "letter": "B", "shape": "M10 2H34Q42 2 42 10V34Q42 42 34 42H10Q2 42 2 34V10Q2 2 10 2Z", "mark": "M9 36.5H35"},
  {"kind": "free", "word": "Free", "letter": "F", "shape": "M10 2H34Q42 2 42 10V34Q42 42 34 42H10Q2 42 2 34V10Q2 2 10 2Z"},
  {"kind": "up", "word": "Up", "letter": "U", "shape": "M22 2Q42 2 42 10V34Q42 42 34 42H10Q2 42 2 34V10Q2 2 22 2Z"},
  {"kind": "new", "word": "New", "letter": "N", "shape": "M10 2H34Q42 2 42 10V34Q42 42 34 42H10Q2 42 2 34V10Q2 2 10 2Z"}
]
