// Linked statically: nobody looks for its functions, so nobody can put others in their place.
int main() { return 0; }
