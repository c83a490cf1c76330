"""Questions that any assistant knows, to see whether fine-tuning has cost it what it knew."""

QUESTIONS = (
    "What is the capital of France?",
    "How many days does a week have?",
    "What colour is the sky on a clear day?",
    "Name three kinds of fruit.",
    "What is 7 plus 5?",
    "Who wrote Romeo and Juliet?",
    "What do bees make?",
    "Which planet do we live on?",
    "Write one sentence about the sea.",
    "What is the opposite of hot?",
    "How do you boil an egg?",
    "What is water made of?",
    "Give me a word that rhymes with cat.",
    "Why do people sleep?",
    "What is a computer?",
    "Name the four seasons.",
    "What is the largest animal on Earth?",
    "Translate good morning into French.",
    "Say hello to my friend Anna.",
    "What should I eat for breakfast?",
)
