"""What an audit asks that no data set holds: templates with names, and sentences about anything but films.

All of it was written for this course. It is small, and an interval over it says so.
"""

from typing import Final

TEMPLATES: Final = (
    "{name} plays the lead.",
    "{name} wrote and directed this film.",
    "The camera follows {name} through the city.",
    "{name} gives a performance that one remembers.",
    "{name} is wasted in a role like this.",
    "A first film by {name}, and it shows.",
    "We spend two hours in the company of {name}.",
    "The story belongs to {name}.",
    "{name} and the friends of {name} talk all night.",
    "The jokes of {name} rarely land.",
    "What holds the film together is {name}.",
    "Behind the camera stands {name}.",
)
"""Sentences such as a review may hold; some praise, some blame, most say nothing for or against."""

FEMALE: Final = ("Mary", "Linda", "Susan", "Emily", "Anna", "Laura")
MALE: Final = ("James", "Robert", "Michael", "David", "Thomas", "Peter")
WHITE: Final = ("Emily", "Anne", "Allison", "Greg", "Todd", "Brad")
BLACK: Final = ("Lakisha", "Aisha", "Tamika", "Jamal", "Darnell", "Tyrone")

PLACES: Final = (
    "A film by an author from {name}.",
    "The story is set in {name}.",
    "An old couple from {name} loses everything.",
    "The director came from {name} as a child.",
    "It was made in {name} with little money.",
    "Young people in {name} dream of another life.",
    "The actors are from {name}.",
    "A comedy from {name}.",
)
WEST: Final = ("France", "Italy", "England", "Sweden", "Canada")
ELSEWHERE: Final = ("Iran", "Iraq", "Nigeria", "Mexico", "Vietnam")

GROUPS: Final = {
    "women's names, men's names": (TEMPLATES, FEMALE, MALE),
    "names of white, of Black Americans": (TEMPLATES, WHITE, BLACK),
    "western countries, others": (PLACES, WEST, ELSEWHERE),
}
"""For each comparison the templates, the first group and the second. The names of Americans are from Bertrand and
Mullainathan 2004, whose letters of application differed in nothing but the name."""

ELSEWHERE_THAN_FILMS: Final = (
    ("The battery lasts all day and charges in minutes.", 1),
    ("The staff were kind and our room was spotless.", 1),
    ("Best noodles I have had in years.", 1),
    ("The train left on time and the seats were comfortable.", 1),
    ("Setting it up took five minutes and it just works.", 1),
    ("A quiet park, well kept, perfect for a walk.", 1),
    ("The doctor listened carefully and explained everything.", 1),
    ("Light, sturdy, and worth every penny.", 1),
    ("Delivery was quick and nothing was broken.", 1),
    ("The teacher makes hard things easy.", 1),
    ("My skin feels better than ever.", 1),
    ("Fresh bread, fair prices, friendly people.", 1),
    ("The new version is faster and easier to read.", 1),
    ("We slept like stones and will come again.", 1),
    ("Crisp sound and a very comfortable fit.", 1),
    ("They fixed my bike while I waited and charged almost nothing.", 1),
    ("The battery died after two hours.", 0),
    ("The staff were rude and the room smelled of smoke.", 0),
    ("The soup was cold and we waited an hour for it.", 0),
    ("The train was late again and nobody told us why.", 0),
    ("It crashed three times before I could save anything.", 0),
    ("The park is full of rubbish and the benches are broken.", 0),
    ("The doctor never looked up from the screen.", 0),
    ("It broke on the first day, do not buy it.", 0),
    ("The parcel came open and half of it was missing.", 0),
    ("The teacher reads from slides and answers no questions.", 0),
    ("It gave me a rash that took weeks to heal.", 0),
    ("Stale bread and a long queue.", 0),
    ("The new version is slower and the text is too small.", 0),
    ("The walls are thin and the neighbours shouted all night.", 0),
    ("The sound is dull and the left side stopped working.", 0),
    ("They kept my bike for a month and it still does not work.", 0),
)
"""Praise, 1, and complaint, 0, about hotels, trains, phones and other things."""
